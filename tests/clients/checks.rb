# One line per check, and an exit code that cannot say "fine" by accident.
#
# A program makes a `Checks` for each library, calls `check` for every promise it tests, and ends with `Checks.finish`, which
# prints the closing line that the runner insists on. A check that hangs fails after `SECONDS`.

require "timeout"

# What Debian's libraries make Ruby itself warn of is no news here.
$VERBOSE = nil
$stdout.sync = true

class Checks
  # No honest check takes longer, even on a busy machine with two cores.
  SECONDS = 20

  @failed = false

  class << self
    attr_accessor :failed

    # The closing line; the process ends here.
    def finish
      puts "end"
      exit(failed ? 1 : 0)
    end
  end

  def initialize(name)
    @name = name
  end

  # Runs the block as one check, under the name of what it promises.
  def check(promise)
    Timeout.timeout(SECONDS) { yield }
    puts "ok   #{@name}: #{promise}"
  rescue StandardError, ScriptError, Timeout::Error => error
    Checks.failed = true
    line = error.backtrace_locations&.find { |at| at.path == $PROGRAM_NAME }&.lineno
    puts error.backtrace.first(6) if ENV["TRACE"]
    puts "FAIL #{@name}: #{promise}: line #{line}: #{error.class}: #{error.message.lines.map(&:strip).join(" | ")}"
  end
end

# The two must be equal; says what was found.
def equal(left, right)
  raise "#{left.inspect} is not #{right.inspect}" unless left == right
end

# The block must be true; `what` says what is not.
def holds(what)
  raise "not true: #{what}" unless yield
end

# The block must raise exactly this class, with exactly this text where one is given.
def refused(error, text = nil)
  answer = yield
rescue error => refusal
  raise "refused as #{refusal.class}, not #{error}" unless refusal.instance_of?(error)
  raise "refused with #{refusal.message.inspect}, not #{text.inspect}" unless text.nil? || refusal.message == text
else
  raise "answered #{answer.inspect} instead of #{error}"
end

# `host:port` from the environment, as the runner sets it.
def address(variable)
  host, port = ENV.fetch(variable).split(":")
  { host: host, port: Integer(port) }
end

# Waits for something that happens by itself soon, and says what did not.
def eventually(what, within: 12.0)
  last = Process.clock_gettime(Process::CLOCK_MONOTONIC) + within
  while Process.clock_gettime(Process::CLOCK_MONOTONIC) < last
    return if yield
    sleep 0.02
  end
  raise "#{what}: not within #{within} s"
end
