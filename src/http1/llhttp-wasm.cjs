// CommonJS on purpose: undici hands the bytes out as `module.exports` itself, and a bundler that turns those into a module's namespace
// makes a property of every byte.
exports.instantiate = (env, variant) => {
  const wasm = variant === "plain" ? plain() : simdOrPlain();
  return new WebAssembly.Instance(wasm, { env }).exports;
};

const plain = () => new WebAssembly.Module(require("undici/lib/llhttp/llhttp-wasm.js"));

function simdOrPlain() {
  try {
    return new WebAssembly.Module(require("undici/lib/llhttp/llhttp_simd-wasm.js"));
  } catch {
    return plain(); // a processor without SIMD
  }
}
