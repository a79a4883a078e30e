"""What the pages of docs/ tell people to do, done: every code block of `PAGES` by its heading and language, and every metric that the dashboard
and the alerts name.

Only addresses are others: those of a server of this run, and of a redis-server where a page has one. A block that is new must be
given a place in `BLOCKS`.
"""

import atexit
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
import yaml
from checks import Checks, equal, finish

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
PAGES = ("quickstarts.md", "operations.md", "migration.md")
RESP, HTTP = "127.0.0.1:6379", "127.0.0.1:8379"
START_SECONDS = 20
# Compilers among them, on a busy machine.
PROGRAM_SECONDS = 50
SESSION = {"user": {"name": "alice", "email": "alice@example.test"}}

# Blocks by page, heading and language, in their order; what is not run says so on its page, and laravel.php runs Laravel's settings.
BLOCKS = [
    ("quickstarts.md", "Express", "js"),
    ("quickstarts.md", "Express", "js"),
    ("quickstarts.md", "Fastify", "js"),
    ("quickstarts.md", "Django", "python"),
    ("quickstarts.md", "Django", "python"),
    ("quickstarts.md", "Rails", "ruby"),
    ("quickstarts.md", "Laravel", "ini"),
    ("quickstarts.md", "Laravel", "php"),
    ("quickstarts.md", "Spring", "properties"),
    ("quickstarts.md", "Spring", "java"),
    ("quickstarts.md", "Go", "go"),
    ("operations.md", "Metrics and alerts", "yaml"),
    ("operations.md", "Metrics and alerts", "yaml"),
    ("migration.md", "What to look at first", "sh"),
    ("migration.md", "There", "sh"),
    ("migration.md", "Back", "sh"),
]


def blocks():
    found = []
    for page in PAGES:
        for section in re.split(r"^## ", (DOCS / page).read_text(), flags=re.M)[1:]:
            heading = section.split("\n", 1)[0]
            found += [(page, heading, *block) for block in re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.M | re.S)]
    return found


FOUND = blocks()


def block(heading, language, at=0):
    return [text for _, known, kind, text in FOUND if (known, kind) == (heading, language)][at]


given = []


def free_port():
    """A port that the system gives to nobody who asks for any: a socket of ours has it, and does not listen."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    given.append(listener)
    return listener.getsockname()[1]


work = tempfile.TemporaryDirectory()
running = []


@atexit.register
def end():
    """Whatever has failed, nothing of ours goes on."""
    for process in running:
        process.kill()
        process.wait()
    shutil.rmtree(work.name, ignore_errors=True)


def start(words, ready, **more):
    """A program of our own, waited for until `ready` says what it is to be known by."""
    log = Path(work.name, f"log{len(running)}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")} | more.pop("env", {})
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log.open("w"), stderr=subprocess.STDOUT, env=environment, **more)
    running.append(process)
    end = time.monotonic() + START_SECONDS
    while not (known := ready(log.read_text())):
        assert process.poll() is None and time.monotonic() < end, f"{words}: {log.read_text()}"
        time.sleep(0.02)
    return process, known


def cloakroom(*options):
    folder = tempfile.mkdtemp(dir=work.name)
    words = [os.environ["CLOAKROOM_BIN"], "--port", "0", "--http-port", "0", "--dir", folder, *options]
    doors = lambda said: (re.search(r"on (\S+) \(resp\)", said), re.search(r"on (\S+) \(http\)", said))
    _, (resp, door) = start(words, lambda said: all(doors(said)) and doors(said))
    return resp[1], door[1]


def here(text, resp, door):
    """The block with the addresses of this run."""
    return text.replace(RESP, resp).replace(HTTP, door)


def get(port, cookie=""):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/", headers={"Cookie": cookie})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (answer.status, body)
    return json.loads(body), (answer.headers.get("set-cookie") or "").split(";")[0]


def answers(port):
    try:
        return get(port) is not None
    except OSError:
        return False


def run(words, **more):
    done = subprocess.run(words, capture_output=True, text=True, timeout=PROGRAM_SECONDS, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == 0, f"{words[0]} left with {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout.strip()


def node(text):
    """A block of JavaScript as a program, beside the libraries."""
    folder = Path(tempfile.mkdtemp(dir=work.name))
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    (folder / "server.mjs").write_text(text)
    port = free_port()
    environment = {"PORT": str(port), "SESSION_SECRET": "only for this test, and long enough for all"}
    process, _ = start(["node", str(folder / "server.mjs")], lambda _: answers(port), env=environment)
    return process, port


def counts_visits(visit):
    """Whoever shows the cookie again is known; another is not."""
    first, cookie = visit("")
    second, _ = visit(cookie)
    equal((first, second, visit("")[0]), ({"visits": 1}, {"visits": 2}, {"visits": 1}))
    assert cookie, "no cookie"


checks = Checks("docs")
resp, door = cloakroom("--source", "store")
store = redis.Redis(*resp.split(":"), decode_responses=True)
store.set("auth:session:t0ken", json.dumps(SESSION), ex=600)
COOKIE = "next-auth.session-token=t0ken"

with checks.check("every block has its place"):
    equal([found[:3] for found in FOUND], BLOCKS)
    before = (DOCS / "quickstarts.md").read_text().split(block("Spring", "properties"))[0]
    assert "*not run*" in before.rsplit("\n\n", 2)[1], "Spring does not say that it is not run"

for heading in ("Express", "Fastify"):
    with checks.check(f"{heading} keeps its sessions here"):
        keys = store.dbsize()
        process, port = node(here(block(heading, "js"), resp, door))
        counts_visits(lambda cookie: get(port, cookie))
        assert store.dbsize() > keys, "nothing was kept"
        process.kill()

with checks.check("Express asks who is signed in"):
    process, port = node(here(block("Express", "js", 1), resp, door))
    equal((get(port)[0], get(port, COOKIE)[0]), ({"name": None}, {"name": "alice"}))
    process.kill()

with checks.check("@upstash/redis as rest.md has it"):
    serve, program = re.findall(r"^```(?:sh|js)\n(.*?)^```$", (DOCS / "rest.md").read_text(), flags=re.M | re.S)
    equal(serve, "CLOAKROOM_REST_TOKEN=$TOKEN cloakroom\n")
    _, rest = cloakroom("--rest-token", "sesame")
    folder = Path(tempfile.mkdtemp(dir=work.name))
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    (folder / "app.mjs").write_text(here(program, resp, rest) + 'console.log(JSON.stringify(await redis.get("cart:7")))')
    equal(run(["node", str(folder / "app.mjs")], env=os.environ | {"TOKEN": "sesame"}), '{"apples":3}')

DJANGO = """
import json, sys
from django.conf import settings
settings.configure(SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SESSION_COOKIE_HTTPONLY=True,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", __name__ + ".nextauth"], CACHES=CACHES, SESSION_ENGINE=SESSION_ENGINE)
import django
django.setup()
from django.http import JsonResponse
from django.test import Client
from django.urls import path
def home(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"], "name": (request.nextauth or {}).get("name")})
urlpatterns = [path("", home)]
known, other = Client(), Client()
known.cookies["next-auth.session-token"] = "t0ken"
print(json.dumps([client.get("/").json() for client in (known, known, other)]))
"""
with checks.check("Django keeps its sessions here and asks who is signed in"):
    program = Path(work.name, "app.py")
    program.write_text(here(block("Django", "python") + block("Django", "python", 1), resp, door) + DJANGO)
    alice = [{"visits": at, "name": "alice"} for at in (1, 2)]
    equal(json.loads(run([sys.executable, str(program)])), [*alice, {"visits": 1, "name": None}])

RAILS = """
require "active_support"
require "active_support/core_ext"
require "active_support/cache/redis_cache_store"
require "action_controller"
require "action_dispatch"
require "rack/mock"
require "json"
class Settings
  attr_accessor :cache_store
  attr_reader :sessions
  def session_store(*words) = @sessions = words
end
config = Settings.new
BLOCK
kind, options = config.sessions
raise "another store" unless kind == :cache_store
app = ->(env) { s = env["rack.session"]; s["visits"] = s["visits"].to_i + 1; [200, {}, [{ visits: s["visits"] }.to_json]] }
cache = ActiveSupport::Cache.lookup_store(*config.cache_store)
door = ActionDispatch::Cookies.new(ActionDispatch::Session::CacheStore.new(app, **options.merge(cache: cache)))
visit = ->(cookie) { r = Rack::MockRequest.new(door).get("/", "HTTP_COOKIE" => cookie.to_s); [r.body, r["Set-Cookie"].to_s.split(";").first] }
first, cookie = visit.call(nil)
puts [first, visit.call(cookie)[0], visit.call(nil)[0]].map { |body| JSON.parse(body) }.to_json
"""
with checks.check("Rails keeps its sessions here"):
    program = Path(work.name, "app.rb")
    program.write_text(RAILS.replace("BLOCK", here(block("Rails", "ruby"), resp, door)))
    equal(json.loads(run(["ruby", "-W0", str(program)])), [{"visits": 1}, {"visits": 2}, {"visits": 1}])
    assert store.keys("app:*"), "nothing was kept"

with checks.check("PHP keeps its sessions here"):
    program = Path(work.name, "app.php")
    program.write_text(here(block("Laravel", "php"), resp, door))
    visit = lambda name: json.loads(run(["php", "-d", "session.use_cookies=0", "-r", f"session_id('{name}'); include '{program}';"]))
    equal([visit("aaaaaaaa"), visit("aaaaaaaa"), visit("bbbbbbbb")], [{"visits": 1}, {"visits": 2}, {"visits": 1}])
    assert store.exists("php:aaaaaaaa"), "nothing was kept"

with checks.check("Java asks who is signed in", seconds=PROGRAM_SECONDS):
    program = Path(work.name, "Session.java")
    program.write_text(here(block("Spring", "java"), resp, door))
    equal(json.loads(run(["java", str(program), COOKIE])), SESSION)

with checks.check("Go asks who is signed in", seconds=PROGRAM_SECONDS):
    program = Path(work.name, "session.go")
    program.write_text(here(block("Go", "go"), resp, door))
    cache = {"GOCACHE": os.environ.get("GOCACHE", str(HERE.parents[1] / "target" / "clients" / "go")), "GO111MODULE": "off", "GOTOOLCHAIN": "local"}
    run(["go", "build", "-o", str(Path(work.name, "session")), str(program)], env=os.environ | cache)
    equal(run([str(Path(work.name, "session")), COOKIE]), "alice")
    equal(run([str(Path(work.name, "session")), ""]), "nobody <nil>")

with checks.check("every metric that the dashboard and the alerts name is there"):
    connection = http.client.HTTPConnection(door, timeout=5)
    connection.request("GET", "/metrics")
    scraped = set(re.findall(r"^(\w+)", connection.getresponse().read().decode(), flags=re.M))
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    texts += [variable["query"] for variable in dashboard["templating"]["list"]]
    alerts = yaml.safe_load(block("Metrics and alerts", "yaml", 1))["groups"][0]["rules"]
    texts += [alert["expr"] for alert in alerts]
    assert yaml.safe_load(block("Metrics and alerts", "yaml"))["scrape_configs"][0]["job_name"] == "cloakroom"
    named = {name for text in texts for name in re.findall(r"cloakroom_\w+", text)}
    assert len(named) > 30, named
    equal(named - scraped, set())
    drawn = [panel["id"] for panel in dashboard["panels"]]
    equal(len(drawn), len(set(drawn)))

MOVED = [("set", "plain", "1", "px", "600000"), ("hset", "cart", "a", "1"), ("rpush", "list", "a", "b"), ("sadd", "set", "x"), ("zadd", "board", "1", "m")]
with checks.check("a Redis moves in and back as the page says", seconds=PROGRAM_SECONDS):
    old_port, back_port = free_port(), free_port()
    for port in (old_port, back_port):
        start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", work.name], lambda said: "Ready to accept" in said)
    old, back = (redis.Redis(port=port, decode_responses=True) for port in (old_port, back_port))
    for command in MOVED:
        old.execute_command(*command)
    for line in block("What to look at first", "sh").splitlines():
        said = run(line.replace("6379", str(old_port)).split(" "))
        assert "cmdstat_hset" in said or "Sampled" in said, said
    serve, copy = block("There", "sh").splitlines()
    serve = serve.removesuffix(" &").replace("--port 6380", "--port 0").replace("8379", "0")
    said = run(["python3", "-c", "import shlex, sys, json; print(json.dumps(shlex.split(sys.argv[1])))", serve])
    program, *options = json.loads(said)
    equal(program, "cloakroom")
    own, _ = cloakroom(*[word for word in options if word not in ("--port", "--http-port", "0")])

    def copied(line, redis_port):
        words = line.replace(f"redis://{RESP}", f"redis://127.0.0.1:{redis_port}").replace("redis://127.0.0.1:6380", f"redis://{own}").split(" ")
        equal(words.pop(0), "cloakroom")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
        return run([os.environ["CLOAKROOM_BIN"], *words], env=environment)

    equal(copied(copy, old_port), "5 keys copied")
    (export,) = block("Back", "sh").splitlines()
    equal(copied(export, back_port), "5 keys copied")
    for at in (redis.Redis(*own.split(":"), decode_responses=True), back):
        equal(
            (at.get("plain"), at.hgetall("cart"), at.lrange("list", 0, -1), at.smembers("set"), at.zrange("board", 0, -1)),
            ("1", {"a": "1"}, ["a", "b"], {"x"}, ["m"]),
        )
        assert 0 < at.pttl("plain") <= 600_000

finish(checks)
