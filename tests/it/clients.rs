//! Rust's own Redis clients: redis-rs, and mini-redis, which sends its TTL as an integer among the words.

use std::time::Duration;

use redis::TypedCommands as _;

use crate::support::Running;

#[test]
fn redis_rs_sets_reads_expires_pipelines_and_scans_in_both_protocols() {
    let server = Running::start(&[]);
    for protocol in ["resp2", "resp3"] {
        let client = redis::Client::open(format!("redis://{}/3?protocol={protocol}", server.resp)).expect("an address");
        let mut connection = client.get_connection().expect("a server");
        connection.set_ex("coat", "blue", 100).expect("SETEX");
        assert_eq!(connection.get("coat").expect("GET").as_deref(), Some("blue"));
        assert!((1..=100).contains(&redis::cmd("TTL").arg("coat").query::<i64>(&mut connection).expect("TTL")));
        assert!(connection.pexpire("coat", 20).expect("PEXPIRE"));
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(connection.get("coat").expect("GET"), None);

        let sums: (i64, i64) =
            redis::pipe().incr("visits", 1).incr("visits", 41).query(&mut connection).expect("a pipeline");
        assert_eq!(sums, (1, 42));
        for number in 0..100 {
            connection.set(format!("scan:{number}"), number).expect("SET");
        }
        let found: std::collections::HashSet<String> =
            connection.scan_match("scan:*").expect("SCAN").collect::<Result<_, _>>().expect("names");
        assert_eq!(found.len(), 100);
        assert_eq!(connection.del("visits").expect("DEL"), 1);
        let refused = redis::cmd("GET").query::<String>(&mut connection).expect_err("too few words");
        assert!(refused.to_string().contains("wrong number of arguments for 'get' command"), "{refused}");
        redis::cmd("FLUSHDB").exec(&mut connection).expect("FLUSHDB");
    }
}

#[test]
fn the_mini_redis_client_sets_with_a_ttl_and_reads() {
    let server = Running::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut client = mini_redis::client::connect(server.resp).await.expect("a server");
        client.set("coat", "blue".into()).await.expect("SET");
        assert_eq!(client.get("coat").await.expect("GET"), Some("blue".into()));
        client.set_expires("coat", "red".into(), Duration::from_secs(60)).await.expect("SET PX");
        assert_eq!(client.get("coat").await.expect("GET"), Some("red".into()));
        client.set_expires("coat", "red".into(), Duration::from_millis(50)).await.expect("SET PX");
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(client.get("coat").await.expect("GET"), None);
    });
}
