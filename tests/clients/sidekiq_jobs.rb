# Sidekiq 6: a server process of its own runs the jobs that this one pushes.
#
# Database 9 is emptied and used. Sidekiq loads this file too, for the jobs and the settings above the line that tells the two
# apart.

require "sidekiq"

SERVER_URL = "redis://#{ENV.fetch("SERVER")}/9"
Sidekiq.configure_client { |config| config.redis = { url: SERVER_URL, size: 5 } }
Sidekiq.configure_server do |config|
  config.redis = { url: SERVER_URL, size: 10 }
  # Scheduled jobs are looked for every few seconds; a test looks more often.
  config.options[:poll_interval_average] = 0.2
end

# Counts each job under its name, so that one done twice is seen.
class Count
  include Sidekiq::Worker
  def perform(name)
    Sidekiq.redis { |redis| redis.hincrby("done", name, 1) }
  end
end

# Fails until it is told that it may pass.
class Stumble
  include Sidekiq::Worker
  def perform(name)
    Sidekiq.redis do |redis|
      raise ArgumentError, "not yet" unless redis.sismember("may-pass", name)
      redis.hincrby("done", name, 1)
    end
  end
end

# Fails for good.
class Fall
  include Sidekiq::Worker
  sidekiq_options retry: 0
  def perform = raise("for good")
end

# Is at work until the list that it waits for has something.
class Slow
  include Sidekiq::Worker
  sidekiq_options queue: "slow"
  def perform(name)
    Sidekiq.redis do |redis|
      redis.set("at-work", name)
      redis.hincrby("done", name, 1) if redis.blpop("go-on", timeout: 18)
    end
  end
end

return unless $PROGRAM_NAME == __FILE__

require "sidekiq/api"
require "tmpdir"
require_relative "checks"

JOBS = 200
START_SECONDS = 40

def done(name) = Sidekiq.redis { |redis| redis.hget("done", name) }.to_i

checks = Checks.new("sidekiq #{Sidekiq::VERSION}")
Sidekiq.redis(&:flushdb)
Sidekiq.logger.level = Logger::ERROR
log = File.join(Dir.mktmpdir, "sidekiq.log")
server = spawn("sidekiq", "-r", File.expand_path(__FILE__), "-c", "5", "-q", "default", "-q", "slow", "-t", "18", in: :close, %i[out err] => log)

begin
  # Its own time, as Ruby loads slowly on a busy machine.
  eventually("the server to start", within: START_SECONDS) { Sidekiq::ProcessSet.new.size == 1 } rescue abort("FAIL sidekiq: #{File.read(log)}")

  checks.check("a server announces itself, with what it runs") do
    process = Sidekiq::ProcessSet.new.first
    equal([process["pid"], process["concurrency"], process["queues"].sort], [server, 5, %w[default slow]])
  end

  checks.check("a job that is pushed is done") do
    holds("an id") { Count.perform_async("first") =~ /\A\h{24}\z/ }
    eventually("it to be done") { done("first") == 1 }
  end

  checks.check("#{JOBS} jobs are done, each exactly once, and counted") do
    before = Sidekiq::Stats.new.processed
    (JOBS / 2).times { |at| Count.perform_async("one:#{at}") }
    equal(Sidekiq::Client.push_bulk("class" => Count, "args" => (0...JOBS / 2).map { |at| ["bulk:#{at}"] }).size, JOBS / 2)
    eventually("all to be done") { Sidekiq.redis { |redis| redis.hlen("done") } == JOBS + 1 }
    equal(Sidekiq.redis { |redis| redis.hvals("done") }.uniq, ["1"])
    # The server tells its counts with its heartbeat, every few seconds.
    eventually("all to be counted") { Sidekiq::Stats.new.processed >= before + JOBS }
    equal(Sidekiq::Queue.new.size, 0)
  end

  checks.check("a job for later is kept until then, and done then") do
    pushed = Time.now.to_f
    later = Count.perform_in(1.5, "later")
    never = Count.perform_in(3600, "never")
    equal(Sidekiq::ScheduledSet.new.sort_by(&:at).map(&:jid), [later, never])
    eventually("it to be done") { done("later") == 1 }
    holds("not before its time") { Time.now.to_f - pushed >= 1.5 }
    equal(Sidekiq::ScheduledSet.new.find_job(never).delete, true)
    equal([Sidekiq::ScheduledSet.new.size, done("never")], [0, 0])
  end

  checks.check("a job that fails is kept for another try with its error, and done when it is tried") do
    id = Stumble.perform_async("stumbled")
    eventually("it to fail") { Sidekiq::RetrySet.new.size == 1 }
    failed = Sidekiq::RetrySet.new.first
    equal([failed.jid, failed["error_class"], failed["error_message"], failed["retry_count"]], [id, "ArgumentError", "not yet", 0])
    holds("another try is planned") { failed.at > Time.now }
    Sidekiq.redis { |redis| redis.sadd("may-pass", "stumbled") }
    # What the page of the retries does behind its button.
    failed.retry
    eventually("it to be done") { done("stumbled") == 1 }
    equal(Sidekiq::RetrySet.new.size, 0)
  end

  checks.check("a try that has come is made by itself") do
    Stumble.perform_async("again")
    eventually("it to fail") { Sidekiq::RetrySet.new.size == 1 }
    Sidekiq.redis { |redis| redis.sadd("may-pass", "again") }
    Sidekiq::RetrySet.new.first.reschedule(Time.now.to_f + 0.1)
    eventually("it to be done") { done("again") == 1 }
  end

  checks.check("a job that may not be tried again is found among the dead") do
    id = Fall.perform_async
    eventually("it to die") { Sidekiq::DeadSet.new.size == 1 }
    equal([Sidekiq::DeadSet.new.first.jid, Sidekiq::DeadSet.new.first["error_message"]], [id, "for good"])
    equal(Sidekiq::RetrySet.new.size, 0)
  end

  checks.check("a server that is told to stop finishes its jobs and leaves the rest in the queue") do
    Slow.perform_async("slow")
    eventually("it to be at work") { Sidekiq.redis { |redis| redis.get("at-work") } }
    Process.kill("TERM", server)
    eventually("it to take no more") { File.read(log).include?("Terminating quiet workers") }
    Count.perform_async("left")
    Sidekiq.redis { |redis| redis.rpush("go-on", "now") }
    equal(Process.wait2(server)[1].exitstatus, 0)
    server = nil
    equal([done("slow"), done("left"), Sidekiq::Queue.new.size, Sidekiq::ProcessSet.new.size], [1, 0, 1, 0])
  end
ensure
  Process.kill("KILL", server) && Process.wait(server) if server
end
Sidekiq.redis(&:flushdb)
Checks.finish
