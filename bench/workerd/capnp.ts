/** Configuration of a bare workerd as Cap'n Proto text (workerd.capnp). Pure: the same input gives the same text. */

export interface ServedWorker {
  readonly name: string;
  /** File name of the bundle, beside the configuration. */
  readonly bundle: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly bindings: readonly Binding[];
  /** Durable Object classes that it exports. */
  readonly objectClasses: readonly { readonly className: string; readonly sql: boolean }[];
  /** Whether it gets a port of its own, on loopback; workerd chooses it. */
  readonly listens: boolean;
}

export type Binding =
  | { readonly kind: "text" | "json"; readonly name: string; readonly value: string }
  | { readonly kind: "service"; readonly name: string; readonly service: string; readonly entrypoint?: string }
  | { readonly kind: "kv" | "queue"; readonly name: string; readonly service: string }
  | { readonly kind: "objects"; readonly name: string; readonly className: string; readonly service: string };

/** Services reach loopback only: a benchmark sends nothing anywhere else. */
const DISK = "objects";
const NETWORK = `(name = "internet", network = (allow = ["local"]))`;

/**
 * Objects are kept in `objectsFolder` (absolute), which must exist and be empty: a run starts from nothing. It is a folder and not
 * memory because workerd offers SQL on disk only. `engineFlags`: of V8, for tests that want its behaviour after hours within seconds.
 */
export function workerdConfig(
  workers: readonly ServedWorker[],
  objectsFolder: string,
  engineFlags: readonly string[] = [],
): string {
  const disk = `(name = ${quote(DISK)}, disk = (path = ${quote(objectsFolder)}, writable = true))`;
  return [
    `using Workerd = import "/workerd/workerd.capnp";`,
    "",
    "const config :Workerd.Config = (",
    ...(engineFlags.length === 0 ? [] : [`  v8Flags = [${engineFlags.map(quote).join(", ")}],`]),
    `  services = ${list([NETWORK, disk, ...workers.map(service)], 4)},`,
    `  sockets = ${list(workers.filter((worker) => worker.listens).map(socket), 4)},`,
    ");",
    "",
  ].join("\n");
}

function service(worker: ServedWorker): string {
  const { name, bundle, compatibilityDate, compatibilityFlags, bindings, objectClasses } = worker;
  const parts = [
    `modules = [(name = ${quote(bundle)}, esModule = embed ${quote(bundle)})]`,
    `compatibilityDate = ${quote(compatibilityDate)}`,
  ];
  if (compatibilityFlags.length > 0) parts.push(`compatibilityFlags = [${compatibilityFlags.map(quote).join(", ")}]`);
  if (bindings.length > 0) parts.push(`bindings = ${list(bindings.map(binding), 8)}`);
  if (objectClasses.length > 0) {
    const namespaces = objectClasses.map(
      ({ className, sql }) =>
        `(className = ${quote(className)}, uniqueKey = ${quote(`${name}-${className}`)}${sql ? ", enableSql = true" : ""})`,
    );
    parts.push(
      `durableObjectNamespaces = ${list(namespaces, 8)}`,
      `durableObjectStorage = (localDisk = ${quote(DISK)})`,
    );
  }
  return `(name = ${quote(name)}, worker = (${parts.map((part) => `\n      ${part},`).join("")}\n    ))`;
}

function binding(it: Binding): string {
  return `(name = ${quote(it.name)}, ${bindingValue(it)})`;
}

function bindingValue(it: Binding): string {
  switch (it.kind) {
    case "kv":
      return `kvNamespace = ${quote(it.service)}`;
    case "queue":
      return `queue = ${quote(it.service)}`;
    case "objects":
      return `durableObjectNamespace = (className = ${quote(it.className)}, serviceName = ${quote(it.service)})`;
    case "service":
      return it.entrypoint === undefined
        ? `service = ${quote(it.service)}`
        : `service = (name = ${quote(it.service)}, entrypoint = ${quote(it.entrypoint)})`;
    case "text":
    case "json":
    default:
      return `${it.kind} = ${quote(it.value)}`;
  }
}

function socket(worker: ServedWorker): string {
  return `(name = ${quote(worker.name)}, address = "127.0.0.1:0", http = (), service = ${quote(worker.name)})`;
}

function list(items: readonly string[], indent: number): string {
  const pad = " ".repeat(indent);
  return items.length === 0 ? "[]" : `[\n${items.map((item) => `${pad}${item},\n`).join("")}${pad.slice(2)}]`;
}

/** Cap'n Proto text has C's escapes; control characters go as \xNN, everything else as UTF-8. */
function quote(text: string): string {
  const escaped = text
    .replace(/["\\]/g, (character) => `\\${character}`)
    // oxlint-disable-next-line no-control-regex
    .replace(/[\u0000-\u001f\u007f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${escaped}"`;
}
