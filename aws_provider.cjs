"use strict";
// Preloaded into jsii's Node process by aws_provider.py. The provider's index.js requires all 1,500 resources at once;
// here each of its requires gives a stand-in that loads the resource when somebody first asks for one of its exports.

const Module = require("node:module");
const path = require("node:path");

const INDEX = path.join("@cdktf", "provider-aws", "lib", "index.js");
const load = Module.prototype.require;

Module.prototype.require = function (id) {
  if (!this.filename?.endsWith(INDEX)) return load.call(this, id);
  let exports;
  return new Proxy({}, { get: (_, name) => (exports ??= load.call(this, id))[name] });
};
