//! The binary: its allocator, how it panics and dumps no core. What it is asked for is done in [`cloakroom::cli`].

use std::io::Write as _;
use std::process::ExitCode;

/// Built to take no huge pages: of a segment that is half full they would hold the other half too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    leave_no_core();
    std::panic::set_hook(Box::new(tell_of_panic));
    cloakroom::cli::run(std::env::args_os().skip(1).collect())
}

/// Says where a panic was. Of what it says only what stands in the code: the rest was made of what was at hand, a token
/// perhaps. The log may be what has panicked, so this goes past it.
fn tell_of_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map_or_else(|| "a place unknown".to_owned(), ToString::to_string);
    let said = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"(the text may hold what was sent)");
    let thread = std::thread::current();
    let trace = std::backtrace::Backtrace::capture();
    let _ = writeln!(std::io::stderr(), "thread {} panicked at {at}: {said}", thread.name().unwrap_or("?"));
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        let _ = writeln!(std::io::stderr(), "{trace}");
    }
}

/// A core dump would hold sessions and passwords, so none is written unless somebody raises the limit (`prlimit --core`).
#[cfg(target_os = "linux")]
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Where that is not allowed, the machine's own limit stands.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

#[cfg(not(target_os = "linux"))]
fn leave_no_core() {}
