import type { Binding, ServedWorker } from "./capnp.ts";

/** The part of a parsed wrangler.toml that bare workerd needs. */
export interface WranglerConfig {
  readonly name?: string | undefined;
  readonly compatibility_date?: string | undefined;
  readonly compatibility_flags?: readonly string[] | undefined;
  readonly vars: Readonly<Record<string, unknown>>;
  readonly secrets?: { readonly required?: readonly string[] | undefined } | undefined;
  readonly durable_objects: {
    readonly bindings: readonly { readonly name: string; readonly class_name: string; readonly script_name?: string }[];
  };
  readonly exports?:
    | Readonly<Record<string, { readonly type: string; readonly storage?: string | undefined }>>
    | undefined;
  readonly kv_namespaces: readonly { readonly binding: string }[];
  readonly queues: { readonly producers?: readonly { readonly binding: string }[] | undefined };
  readonly services?:
    | readonly { readonly binding: string; readonly service: string; readonly entrypoint?: string }[]
    | undefined;
}

/**
 * A Worker of the product as bare workerd serves it, so that a binding added to its wrangler.toml is there in the benchmark too.
 * `settings` are variables and secrets by name, and win over the file's. What `served` does not name is bound to `standIn`.
 */
export function fromWrangler(
  config: WranglerConfig,
  options: {
    readonly bundle: string;
    readonly settings: Readonly<Record<string, string>>;
    readonly served: readonly string[];
    readonly standIn: string;
    readonly listens: boolean;
  },
): ServedWorker {
  const name = config.name ?? "";
  const { bundle, settings, served, standIn, listens } = options;
  const texts = { ...config.vars, ...settings };
  for (const secret of config.secrets?.required ?? []) {
    if (!(secret in texts)) throw new Error(`${name} needs the secret ${secret}`);
  }
  const bindings: Binding[] = [
    ...Object.entries(texts).map(([key, value]): Binding =>
      typeof value === "string"
        ? { kind: "text", name: key, value }
        : { kind: "json", name: key, value: JSON.stringify(value) },
    ),
    ...config.durable_objects.bindings.map((it): Binding => {
      const service = it.script_name ?? name;
      return served.includes(service)
        ? { kind: "objects", name: it.name, className: it.class_name, service }
        : { kind: "service", name: it.name, service: standIn };
    }),
    ...(config.services ?? []).map((it): Binding => {
      if (!served.includes(it.service)) return { kind: "service", name: it.binding, service: standIn };
      const { binding, service, entrypoint } = it;
      return { kind: "service", name: binding, service, ...(entrypoint === undefined ? {} : { entrypoint }) };
    }),
    ...config.kv_namespaces.map((it): Binding => ({ kind: "kv", name: it.binding, service: standIn })),
    ...(config.queues.producers ?? []).map((it): Binding => ({ kind: "queue", name: it.binding, service: standIn })),
  ];
  return {
    name,
    bundle,
    compatibilityDate: config.compatibility_date ?? "",
    compatibilityFlags: config.compatibility_flags ?? [],
    bindings,
    objectClasses: Object.entries(config.exports ?? {})
      .filter(([, it]) => it.type === "durable-object")
      .map(([className, it]) => ({ className, sql: it.storage === "sqlite" })),
    listens,
  };
}
