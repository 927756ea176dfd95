/**
 * How much a call does, in steps: how often V8 enters a block of our code (a function, the body of a loop, a branch).
 * It counts the same on a busy machine as on a quiet one. The work inside a regular expression is one step.
 */
import {Session} from "node:inspector";
import {setFlagsFromString} from "node:v8";

const OURS = "/static/chat/";

// Optimized code leaves some counters out.
setFlagsFromString("--no-opt");
// From the start: a function that was compiled before has no counters.
const session = new Session();
session.connect();
ask("Profiler.enable");
ask("Profiler.startPreciseCoverage", {callCount: true, detailed: true});

/** In the session's own thread the answer is there when `post` returns. */
function ask(method, options) {
  let answer;
  session.post(method, options, (error, result) => {
    if (error) throw error;
    answer = result;
  });
  return answer;
}

/** @param {() => unknown} call */
export function stepsOf(call) {
  ask("Profiler.takePreciseCoverage"); // what came before
  call();
  const {result} = ask("Profiler.takePreciseCoverage");
  const functions = result.filter(({url}) => url.includes(OURS)).flatMap(({functions: found}) => found);
  return functions.flatMap(({ranges}) => ranges).reduce((sum, {count}) => sum + count, 0);
}

/** By how much the steps grow when the input is four times as large: 4 where they are in proportion to its size. */
export function growthOf(call, size) {
  return stepsOf(() => call(4 * size)) / stepsOf(() => call(size));
}

/**
 * Only the time can be measured of work inside a regular expression: whether the CPU time, the least of a few, grows
 * by much more than the input when that is sixteen times as large. Quadratic work takes 256 times as long.
 */
export function isQuadratic(call, size) {
  const least = (n) => Math.min(...Array.from({length: 5}, () => cpuOf(() => call(n))));
  call(size);
  return least(16 * size) > 100 * least(size);
}

function cpuOf(call) {
  const before = process.cpuUsage();
  call();
  return Math.max(process.cpuUsage(before).user, 100); // in µs; what takes less is mostly the clock's
}
