import { readFile } from "node:fs/promises";
import type { RegistryLogin } from "./engine.ts";

/** Docker's rule: what stands before the first slash is a registry when it looks like a host; else the image is Docker Hub's. */
export function registryOf(image: string): string {
  const [first = "", ...rest] = image.split("/");
  return rest.length > 0 && (/[.:]/.test(first) || first === "localhost") ? first : "docker.io";
}

/** The login that the operator gave for the image's registry. Rejects when a file can't be read. */
export async function registryLogin(
  image: string,
  registries: Readonly<Record<string, { readonly username: string; readonly passwordFile: string }>>,
): Promise<RegistryLogin | null> {
  const entry = registries[registryOf(image)];
  if (entry === undefined) return null;
  const password = await readFile(entry.passwordFile, "utf8");
  return { username: entry.username, password: password.trimEnd() };
}
