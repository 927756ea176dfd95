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
  ask("Profiler.takePreciseCoverage"); // drop the counts so far
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
 * By how much the text that regular expressions match grows when the input is four times as large: steps don't count
 * the work inside of them. A scan that fails is not counted.
 */
export function matchingGrowthOf(call, size) {
  return matchedBy(() => call(4 * size)) / matchedBy(() => call(size));
}

function matchedBy(call) {
  const {exec} = RegExp.prototype; // `test` and `matchAll` call it too
  let matched = 0;
  RegExp.prototype.exec = function (text) {
    const found = exec.call(this, text);
    matched += 1 + (found?.[0].length ?? 0);
    return found;
  };
  try {
    call();
  } finally {
    RegExp.prototype.exec = exec;
  }
  return matched;
}
