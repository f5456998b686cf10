// Gives every kernel to Tint, the shader compiler of Chromium, through Dawn: every module, and every pipeline with
// every variant's constants, on a device with WebGPU's default limits and no optional feature.
//
//     node tools/tint.mjs SHADERS.json MODULES
//
// SHADERS.json is what the example `dump_shaders` of rnn-kernels writes; below MODULES the npm package `webgpu` (Dawn
// for Node) is installed.
// `tools/cross-check DIRECTORY tint` prepares both.
//
// Kernels that read immediates are skipped: they are an extra of native adapters, and Tint requires a directive for them.
// Each has a twin that reads a uniform, which must be among the kernels accepted. A kernel whose text has `enable`
// directives gets a device of its own with those features; where the adapter lacks one, the kernel is skipped and
// named.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Feature of a device that a WGSL extension needs. */
const FEATURE_OF = { f16: 'shader-f16', subgroups: 'subgroups' };

/** WebGPU's defaults of the limits that compute kernels meet. */
const DEFAULT_LIMITS = {
  maxBindGroups: 4,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBuffersPerShaderStage: 12,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
};

const [shadersPath, modules] = process.argv.slice(2);
if (!modules) {
  console.error('usage: node tools/tint.mjs SHADERS.json MODULES');
  process.exit(2);
}
const require = createRequire(pathToFileURL(resolve(modules, 'package.json')));
const { create, globals } = await import(pathToFileURL(require.resolve('webgpu')));
Object.assign(globalThis, globals);
const gpu = create(['backend=vulkan']);

const failures = [];
const fail = (message) => {
  failures.push(message);
  console.error(`FAILED ${message}`);
};

async function requestAdapter() {
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('Dawn finds no Vulkan adapter');
  return adapter;
}

/** A device with these features and WebGPU's default limits; whatever it reports outside of a scope is a failure. */
async function requestDevice(features) {
  const adapter = await requestAdapter(); // an adapter opens one device only
  const device = await adapter.requestDevice({ requiredFeatures: features });
  device.addEventListener('uncapturederror', (event) => fail(`uncaptured error: ${event.error.message}`));
  return device;
}

/** `shaders/rnn/forward.wgsl:31` for a 1-based line of the joined text. */
function locate(kernel, line) {
  const [path, number] = kernel.places[line - 1] ?? [kernel.label, line];
  return `shaders/${path}:${number}`;
}

/** Where the entry point is: what is wrong with a pipeline has no line of its own. */
function entryPlace(kernel) {
  const line = kernel.source.split('\n').findIndex((text) => text.includes(`fn ${kernel.entry}(`));
  return locate(kernel, line + 1);
}

/** Extensions that the text enables, in order. */
function enabled(source) {
  const lists = [...source.matchAll(/^\s*enable\s+([^;]+);/gm)];
  return lists.flatMap(([, list]) => list.split(',').map((name) => name.trim())).filter(Boolean);
}

/** The module, or null and a failure per error. Warnings are printed. */
async function compile(device, kernel) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label: kernel.label, code: kernel.source });
  const { messages } = await module.getCompilationInfo();
  const error = await device.popErrorScope();
  const text = ({ lineNum, linePos, message }) => `${kernel.label}: ${locate(kernel, lineNum)}:${linePos}: ${message}`;
  const errors = messages.filter(({ type }) => type === 'error');
  for (const message of messages) {
    if (message.type === 'error') fail(text(message));
    else console.log(`${message.type}: ${text(message)}`);
  }
  if (error && errors.length === 0) fail(`${kernel.label}: ${error.message}`);
  return error || errors.length > 0 ? null : module;
}

/** The layout the runtime gives the pipeline: uniforms in group 0, the declared storage buffers in group 1. */
function layout(device, kernel) {
  const entries = (types) =>
    types.map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type, hasDynamicOffset: type === 'uniform' },
    }));
  const storage = kernel.bindings.map((access) => (access === 'read' ? 'read-only-storage' : 'storage'));
  const groups = [['uniform', 'uniform'], storage];
  return device.createPipelineLayout({
    label: kernel.label,
    bindGroupLayouts: groups.map((types) => device.createBindGroupLayout({ entries: entries(types) })),
  });
}

/** Creates one pipeline; returns why it was refused, or null. */
async function refusal(device, module, entryPoint, constants, layout) {
  try {
    await device.createComputePipelineAsync({ layout, compute: { module, entryPoint, constants } });
    return null;
  } catch (error) {
    return error.message;
  }
}

/** The check can fail: Tint is at work, and the device has not quietly got the adapter's larger limits. */
async function checkTheCheck(device) {
  const limits = Object.entries(DEFAULT_LIMITS).map(([name, value]) => [name, value, device.limits[name]]);
  const larger = limits.filter(([, value, got]) => got > value);
  if (larger.length > 0) {
    console.log(`note: more than WebGPU's defaults: ${larger.map(([name, , got]) => `${name} ${got}`).join(', ')}`);
  }
  const probe = async (code) => {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    await device.popErrorScope();
    return { module, errors: messages.filter(({ type }) => type === 'error') };
  };
  const barrier = await probe(`
    @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
      if i < 5u { workgroupBarrier(); }
    }`);
  if (barrier.errors.length === 0) fail('a barrier in non-uniform control flow was accepted: this is not Tint');
  const wide = await probe('@compute @workgroup_size(257) fn main() {}');
  if (!(await refusal(device, wide.module, 'main', {}, 'auto'))) {
    fail('257 invocations were accepted: the device has more than the default limits');
  }
}

const kernels = JSON.parse(readFileSync(shadersPath, 'utf8'));
const adapter = await requestAdapter();
console.log(`adapter: ${adapter.info.description || adapter.info.device} (${adapter.info.vendor})`);
const plain = await requestDevice([]);
await checkTheCheck(plain);

const accepted = new Set();
const immediate = [];
const lacking = [];
let pipelines = 0;
let optional = 0;
for (const kernel of kernels) {
  if (kernel.step === 'immediate') {
    immediate.push(kernel);
    continue;
  }
  const extensions = enabled(kernel.source);
  const unknown = extensions.filter((name) => !(name in FEATURE_OF));
  if (unknown.length > 0) {
    fail(`${kernel.label}: enables ${unknown.join(', ')}, which this check does not know`);
    continue;
  }
  const features = extensions.map((name) => FEATURE_OF[name]);
  const missing = features.filter((feature) => !adapter.features.has(feature));
  if (missing.length > 0) {
    lacking.push(`${kernel.label} (${missing.join(', ')})`);
    continue;
  }
  const device = features.length > 0 ? await requestDevice(features) : plain;
  const before = failures.length;
  const module = await compile(device, kernel);
  for (const constants of module ? kernel.variants : []) {
    for (const [name, wanted] of [['auto', 'auto'], ['explicit', layout(device, kernel)]]) {
      const why = await refusal(device, module, kernel.entry, constants, wanted);
      const what = `${kernel.label} ${JSON.stringify(constants)}, ${name} layout: ${entryPlace(kernel)}`;
      if (why) fail(`${what}: ${why.trimEnd()}`);
    }
    pipelines += 1;
  }
  if (failures.length === before) {
    accepted.add(kernel.label);
    if (features.length > 0) optional += 1;
  }
}
for (const kernel of immediate) {
  if (!accepted.has(kernel.twin)) {
    fail(`${kernel.label} reads immediates; its twin with a uniform, ${kernel.twin ?? 'none'}, was not accepted`);
  }
}

if (accepted.size === 0) fail('no kernel was accepted');
console.log(
  `${accepted.size} kernels accepted, ${optional} of them with optional features; ${pipelines} variants tried, each ` +
    'with the automatic and the explicit layout',
);
console.log(`${immediate.length} kernels skipped: they read immediates, and their twins with a uniform are checked`);
if (lacking.length > 0) console.log(`SKIPPED, the adapter lacks a feature: ${lacking.join(', ')}`);
if (failures.length > 0) console.error(`${failures.length} failures`);
// Dawn's threads would keep the process alive.
process.exit(failures.length > 0 ? 1 : 0);
