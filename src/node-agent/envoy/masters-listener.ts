import { LIMITS } from "../limits.ts";
import { socketAddress, typed, type Json } from "./json.ts";
import { linkFromMasters } from "./link-tls.ts";
import {
  early,
  listener,
  MANAGER,
  manager,
  overwrite,
  remove,
  repliesToMaster,
  ROUTER,
  SCOPES_FROM_AGENT,
} from "./manager.ts";
import { HOST_HEADER, PROBE_HEADER, SCOPE_HEADER, VIA_HEADER } from "./names.ts";
import type { EnvoyPaths } from "./static.ts";

export interface MastersPort {
  readonly address: string;
  readonly port: number;
  /** Of the masters that may come, as in their certificates; exact. */
  readonly names: readonly string[];
}

/**
 * Where masters reach a node: the same scopes as the edge's, without a proof. The certificate says that it is a master, and a master says host
 * and tenant (docs/adr/0008-masters-prove-themselves-by-certificate.md). Routes that are not open answer nobody here.
 */
export const renderMastersListener = (
  { address, port, names }: MastersPort,
  paths: EnvoyPaths,
): { readonly [key: string]: Json } =>
  listener(
    "masters",
    socketAddress(address, port),
    typed(MANAGER, {
      ...manager(SCOPES_FROM_AGENT),
      stat_prefix: "masters",
      upgrade_configs: [{ upgrade_type: "websocket" }, { upgrade_type: "CONNECT" }],
      http2_protocol_options: {
        allow_connect: true,
        max_concurrent_streams: LIMITS.linkStreams,
        initial_stream_window_size: LIMITS.linkStreamWindowBytes,
        initial_connection_window_size: LIMITS.linkConnectionWindowBytes,
      },
      early_header_mutation_extensions: early([
        remove(PROBE_HEADER),
        remove(HOST_HEADER), // an absent value overwrites nothing
        overwrite(HOST_HEADER, `%REQ(${SCOPE_HEADER})%`),
        overwrite(VIA_HEADER, "master"),
      ]),
      http_filters: [ROUTER],
      local_reply_config: repliesToMaster(),
    }),
    linkFromMasters(names, paths),
  );
