//! HELP: what a container's subcommands do, for people, with the header and footer that Redis puts around it.

use super::Ctx;
use crate::error::Result;

/// Answers the lines of a container's HELP.
pub(super) fn answer(ctx: &mut Ctx<'_>, container: &str, lines: &[&str]) -> Result<()> {
    let reply = &mut ctx.reply;
    reply.array(lines.len() + 3);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
    Ok(())
}
