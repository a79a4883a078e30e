//! stub
use crate::engine::Engine;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
pub struct Door {
    _engine: Arc<Engine>,
}
impl Door {
    pub fn new(engine: Arc<Engine>) -> Door {
        Door { _engine: engine }
    }
    pub async fn serve(&self, _s: tokio::net::TcpStream, _p: SocketAddr, _e: watch::Receiver<bool>) {}
}
