// Called by asl.py: machines in on stdin, faults out on stdout, both as JSON.
// Resolves asl-validator from node_modules and the JSONata parser from asl-validator, whose version AWS's is closest to.
const validator = require("asl-validator");
const jsonata = require(require.resolve("jsonata", { paths: [require.resolve("asl-validator")] }));

// What Step Functions adds to JSONata, beside $states (developer guide, "Transforming data with JSONata").
const OF_STEP_FUNCTIONS = new Set(["states", "partition", "range", "hash", "random", "uuid", "parse"]);

function* nodes(tree) {
  if (tree === null || typeof tree !== "object") return;
  if (!Array.isArray(tree) && tree.type) yield tree;
  for (const value of Object.values(tree)) yield* nodes(value);
}

async function faultsOfExpression({ state, text }, known) {
  let tree;
  try {
    tree = jsonata(text).ast();
  } catch (error) {
    return [`${state}: the expression {%${text}%} is not JSONata: ${error.message} (at ${error.position}); correct it`];
  }
  const used = new Set(), bound = new Set(known);
  for (const node of nodes(tree)) {
    if (node.type === "variable") used.add(node.value);
    if (node.type === "bind") bound.add(node.lhs.value);
    if (node.type === "lambda") node.arguments.forEach((argument) => bound.add(argument.value));
  }
  const faults = [];
  for (const name of used) {
    if (name === "eval") faults.push(`${state}: $eval does not exist in Step Functions; write the expression itself`);
    if (["", "$", "eval"].includes(name) || bound.has(name) || OF_STEP_FUNCTIONS.has(name)) continue;
    if (!(await jsonata(`$exists($${name})`).evaluate({})))
      faults.push(`${state}: $${name} is neither assigned in this machine nor a function; correct the name or assign it`);
  }
  return faults;
}

async function main() {
  const machines = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const faults = [];
  for (const { name, definition, expressions, variables } of machines) {
    for (const expression of expressions)
      faults.push(...(await faultsOfExpression(expression, variables)).map((fault) => `${name}: ${fault}`));
    const result = validator(definition, { checkPaths: true, checkArn: true });
    for (const error of result.errors)
      faults.push(`${name}: ${error.path ?? error.instancePath ?? ""}: asl-validator: ${error["Error code"] ?? ""} ${error.Message ?? error.message}; correct it`);
  }
  console.log(JSON.stringify(faults));
}

main().catch((error) => { console.error(error); process.exit(1); });
