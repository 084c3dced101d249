using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>What is settled is deleted one day. What may go is <see cref="StoreTests"/>' affair.</summary>
public sealed class PrunerTests
{
    [Fact]
    public async Task A_controller_that_leads_deletes_what_has_been_settled_for_longer_than_it_is_kept()
    {
        await using var world = await World.StartAsync(controller: false);
        var old = new ManualTime(TimeProvider.System.GetUtcNow() - TimeSpan.FromDays(9));
        await using (var store = await Store.OpenAsync(Path.Combine(world.Folder, "controller.db"), Some.Lease, old))
        {
            await SettleAsync(store, Pruner.Batch + 1);
            old.Move(TimeSpan.FromDays(3));
            await SettleAsync(store, 1);
            await store.Deliveries.AcceptAsync(Some.Delivery()); // which the controller works on when it starts
        }

        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Keep"] = "8" });
        await world.LineAsync($"forgot {Pruner.Batch + 1} deliveries and 1 launches that were settled more than 8 days ago");
        await world.StopControllerAsync();
        Assert.Equal(2, await world.StoredAsync(s => s.Deliveries.CountAsync()));
    }

    [Fact]
    public async Task What_may_go_goes_in_batches_between_which_others_write()
    {
        var time = new ManualTime(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
        var folder = Directory.CreateTempSubdirectory("mayfly-pruner-").FullName;
        await using (var store = await Store.OpenAsync(Path.Combine(folder, "controller.db"), Some.Lease, time))
        {
            await SettleAsync(store, 2 * Pruner.Batch + 1);
            time.Move(Some.Settings().Keep + TimeSpan.FromSeconds(1));
            using var heart = new Heart(store, Some.Health(store, time), time, NullLogger<Heart>.Instance);
            using var pruner = new Pruner(store, heart, Some.Settings(), TimeProvider.System, NullLogger<Pruner>.Instance);
            var pruning = pruner.PruneAsync(TestContext.Current.CancellationToken);
            var seen = new HashSet<long>();
            while (!pruning.IsCompleted)
                seen.Add(await store.Deliveries.CountAsync());
            await pruning;
            Assert.Contains(1 + Pruner.Batch, seen);
            Assert.Equal(0, await store.Deliveries.CountAsync());
        }

        Directory.Delete(folder, recursive: true);
    }

    /// <summary>Deliveries that were worked on, and one launch that was dropped.</summary>
    private static async Task SettleAsync(Store store, int deliveries)
    {
        for (var i = 0; i < deliveries; i++)
            await store.Deliveries.AcceptAsync(Some.Delivery());
        await store.TransactAsync(async sql =>
        {
            foreach (var (id, _) in await Deliveries.TakeAsync(sql, deliveries))
                await Deliveries.DoneAsync(sql, id);
            var job = Some.Job(JobAction.Completed, "mayfly") with { Id = sql.Now.UtcTicks, Conclusion = "cancelled" };
            await Launches.RecordAsync(sql, job);
            return 0;
        });
    }
}
