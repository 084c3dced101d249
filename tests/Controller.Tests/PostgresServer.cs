using System.Diagnostics;
using System.Globalization;
using Mayfly.Controller.Tests;

[assembly: AssemblyFixture(typeof(PostgresServer))]

namespace Mayfly.Controller.Tests;

/// <summary>A real PostgreSQL, one for all tests, on a socket in a folder of its own; started when the first test asks for a
/// database. Without PostgreSQL on the computer such tests are skipped, loudly.</summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-postgres-").FullName;
    private readonly SemaphoreSlim _starting = new(1);
    private string? _programs;
    private int _databases;

    /// <summary>Where it listens.</summary>
    public string Socket => $"{_folder}/.s.PGSQL.5432";

    /// <summary>A new, empty database.</summary>
    /// <returns>Its connection string.</returns>
    public async Task<string> NewDatabaseAsync()
    {
        await _starting.WaitAsync();
        try
        {
            if (_programs is null)
                await StartAsync();
        }
        finally
        {
            _starting.Release();
        }

        var name = string.Create(CultureInfo.InvariantCulture, $"test{Interlocked.Increment(ref _databases)}");
        await RunAsync("createdb", "-h", _folder, name);
        return $"Host={_folder};Username=postgres;Database={name}";
    }

    public async ValueTask DisposeAsync()
    {
        if (_programs is not null)
            await RunAsync("pg_ctl", "-D", $"{_folder}/data", "-m", "immediate", "-w", "stop");
        _starting.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task StartAsync()
    {
        var programs = Directory.Exists("/usr/lib/postgresql") ? Directory.GetDirectories("/usr/lib/postgresql").Select(d => $"{d}/bin").LastOrDefault(d => File.Exists($"{d}/initdb")) : null;
        Assert.SkipUnless(programs is not null, "PostgreSQL is missing: install Debian's package postgresql");
        _programs = programs;
        File.SetUnixFileMode(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        if (Environment.IsPrivilegedProcess) // PostgreSQL does not run as root
            await RunAsync("chown", "postgres", _folder);
        await RunAsync("initdb", "-D", $"{_folder}/data", "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C");
        await RunAsync("pg_ctl", "-D", $"{_folder}/data", "-w", "-l", $"{_folder}/log", "-o", $"-k {_folder} -c listen_addresses= -c fsync=off -c max_connections=200", "start");
    }

    private async Task RunAsync(string program, params string[] arguments)
    {
        var asPostgres = Environment.IsPrivilegedProcess && program != "chown";
        var start = new ProcessStartInfo(asPostgres ? "setpriv" : program == "chown" ? program : $"{_programs}/{program}") { RedirectStandardError = true, RedirectStandardOutput = true, WorkingDirectory = "/" };
        foreach (var argument in asPostgres ? ["--reuid=postgres", "--regid=postgres", "--clear-groups", $"{_programs}/{program}", .. arguments] : arguments)
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        // A server that pg_ctl has started keeps its standard output: only the program's own end is waited for.
        await process.WaitForExitAsync().WaitAsync(World.Limit);
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program}: {await process.StandardError.ReadToEndAsync()}");
    }
}
