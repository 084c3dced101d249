using System.Globalization;
using Mayfly.Burst;
using Mayfly.Controller;
using Mayfly.Lab;

// The controller as its own program builds it, in a process of its own, by a clock that follows the lab's: POST /clock?ticks=N
// moves it on and is answered once nothing goes on any more. Started by Burst; everything else is configured as the controller is.
var time = new HandMovedTime(DateTimeOffset.Parse(Environment.GetEnvironmentVariable(Burst.StartVariable)!, CultureInfo.InvariantCulture));
var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { Args = [], ContentRootPath = AppContext.BaseDirectory });
var settings = Settings.From(builder.Configuration);
var secrets = await AppSecrets.ReadAsync(settings);
await using var store = await Store.OpenAsync(settings.Database, settings.Lease, time, secrets.DatabasePassword);
await using var app = await Mayfly.Controller.Program.BuildAsync(builder, settings, secrets, store, time);
app.MapPost("/clock", async (long ticks, CancellationToken cancel) =>
{
    await StepAsync(TimeSpan.FromTicks(ticks), cancel);
    // What was being written is on the disk now, and what that has set off is done.
    await store.CheckWritableAsync();
    await StepAsync(TimeSpan.Zero, cancel);
});
await app.RunAsync();

Task StepAsync(TimeSpan step, CancellationToken cancel)
{
    var looks = 0;
    return time.RunAsync(() => looks++ > 0, () => false, step, TimeSpan.FromSeconds(1) + step, cancel);
}
