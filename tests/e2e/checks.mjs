// What was promised, and whether it held. Every check is printed; none is skipped silently.

let passed = 0;
let failed = 0;

export function check(promise, holds, detail = "") {
  if (holds) passed += 1;
  else failed += 1;
  console.log(`  ${holds ? "ok  " : "FAIL"}  ${promise}${detail === "" ? "" : `: ${detail}`}`);
}

/** Prints the last line and gives the exit code. A run that checked nothing has proved nothing. */
export function verdict() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed || !passed ? 1 : 0;
}
