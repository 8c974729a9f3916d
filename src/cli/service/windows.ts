import type { ServicePlan, ServiceSpec } from "./plan.ts";

/**
 * A script for Windows PowerShell 5.1, which every Windows has. A service must speak with the service manager, which Node does not: the
 * script compiles a small one that runs the connector, starts it again, and ends it by closing its standard input, so that it drains.
 */
export function windowsPlan(spec: ServiceSpec, programData: string): ServicePlan {
  const { name } = spec;
  const folder = `${programData}\\Causeway`;
  const path = `${folder}\\${name}.install.ps1`;
  return {
    path,
    mode: 0o600,
    content: script(spec, folder),
    install: [["powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File", path]],
    uninstall: [
      ["sc.exe", "stop", name],
      ["sc.exe", "delete", name],
    ],
    afterRemoval: [],
    status: ["sc.exe", "query", name],
  };
}

function script({ name, program, args, credential, user }: ServiceSpec, folder: string): string {
  const [file = "", ...before] = program;
  const named = credential === null ? [] : [credential.flag, credential.file];
  const line = [...before, "connect", ...args, ...named, "--state-dir", `${folder}\\${name}`].map(argument).join(" ");
  return `${[
    "# Made by `causeway service install`. Run it as Administrator.",
    '$ErrorActionPreference = "Stop"',
    `$name = ${literal(name)}`,
    `$folder = ${literal(folder)}`,
    "New-Item -ItemType Directory -Force -Path $folder, (Join-Path $folder $name) | Out-Null",
    "# The service's account and administrators only: the instance id and pushed settings are kept here.",
    'icacls.exe (Join-Path $folder $name) /inheritance:r /grant:r "*S-1-5-18:(OI)(CI)F" "*S-1-5-32-544:(OI)(CI)F" "*S-1-5-19:(OI)(CI)M" | Out-Null',
    "$source = @'",
    SERVICE_SOURCE.replace("@FILE@", csharp(file)).replace("@ARGUMENTS@", csharp(line)).replace("@NAME@", csharp(name)),
    "'@",
    '$binary = Join-Path $folder "$name.service.exe"',
    "if (Get-Service -Name $name -ErrorAction SilentlyContinue) { Stop-Service -Name $name; sc.exe delete $name | Out-Null; Start-Sleep -Seconds 1 }",
    "Add-Type -TypeDefinition $source -ReferencedAssemblies System.ServiceProcess -OutputAssembly $binary -OutputType ConsoleApplication",
    "$quoted = '\"' + $binary + '\"'",
    'New-Service -Name $name -DisplayName "Causeway connector" -BinaryPathName $quoted -StartupType Automatic | Out-Null',
    `sc.exe config $name obj= ${literal(user ?? "NT AUTHORITY\\LocalService")} | Out-Null`,
    "sc.exe failure $name reset= 86400 actions= restart/5000/restart/5000/restart/60000 | Out-Null",
    "Start-Service -Name $name",
  ].join("\r\n")}\r\n`;
}

/** Exit codes 2 and 5 want somebody to act: the service stops with them instead of trying again. */
const SERVICE_SOURCE = `using System.Diagnostics;
using System.ServiceProcess;
using System.Threading;
public class CausewayService : ServiceBase {
  Process child;
  volatile bool stopping;
  public static void Main() { ServiceBase.Run(new CausewayService { ServiceName = @NAME@, CanShutdown = true }); }
  protected override void OnStart(string[] args) { new Thread(Loop) { IsBackground = true }.Start(); }
  protected override void OnShutdown() { OnStop(); }
  protected override void OnStop() {
    stopping = true;
    RequestAdditionalTime(40000);
    Process running = child;
    if (running == null || running.HasExited) return;
    running.StandardInput.Close();
    if (!running.WaitForExit(35000)) running.Kill();
  }
  void Loop() {
    while (!stopping) {
      ProcessStartInfo start = new ProcessStartInfo(@FILE@, @ARGUMENTS@);
      start.UseShellExecute = false;
      start.RedirectStandardInput = true;
      start.EnvironmentVariables["CAUSEWAY_STOP_ON_STDIN_END"] = "1";
      child = Process.Start(start);
      child.WaitForExit();
      if (stopping) return;
      if (child.ExitCode == 2 || child.ExitCode == 5) { ExitCode = child.ExitCode; Stop(); return; }
      Thread.Sleep(5000);
    }
  }
}`;

/** For PowerShell, in single quotes. */
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
/** For C#, as a verbatim string; it stands in a here-string of PowerShell that takes everything literally. */
const csharp = (text: string): string => `@"${text.replaceAll('"', '""')}"`;

/** As the C runtime splits a command line: quotes and the backslashes before them are escaped. */
function argument(word: string): string {
  if (/^[^\s"]+$/.test(word)) return word;
  return `"${word.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, "$1$1")}"`;
}
