using System.Collections.Concurrent;

namespace Mayfly.Controller.Tests;

/// <summary>The stores that a test opens, on one database of its own, of either kind; closed and deleted with it.</summary>
internal sealed class OpenedStores(PostgresServer postgres) : IAsyncDisposable
{
    private readonly ConcurrentBag<Store> _opened = [];
    private string? _setting;

    public string Folder { get; } = Directory.CreateTempSubdirectory("mayfly-store-").FullName;

    /// <summary>The test's database, as <c>Mayfly:Database</c> names it.</summary>
    public async Task<string> SettingAsync(string kind) =>
        _setting ??= kind == "sqlite" ? Path.Combine(Folder, "controller.db") : await postgres.NewDatabaseAsync();

    public async Task<Store> OpenAsync(string setting, TimeProvider time)
    {
        var store = await Store.OpenAsync(setting, Some.Lease, time);
        _opened.Add(store);
        return store;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var store in _opened)
            await store.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }
}
