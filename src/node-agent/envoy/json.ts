/** Envoy's configuration as JSON (protobuf's JSON mapping), and the forms in it that come again and again. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** A message whose type is said beside it (google.protobuf.Any). */
export const typed = (type: string, fields: { readonly [key: string]: Json }): Json => ({
  "@type": `type.googleapis.com/${type}`,
  ...fields,
});

export const socketAddress = (address: string, port: number): Json => ({
  socket_address: { address, port_value: port },
});

/** A file of resources that Envoy watches: replaced by a move into its directory. */
export const fromFile = (dir: string, file: string): Json => ({
  path_config_source: { path: `${dir}/${file}`, watched_directory: { path: dir } },
  resource_api_version: "V3",
});
