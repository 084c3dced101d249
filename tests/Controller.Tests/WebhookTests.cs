using System.Diagnostics.Metrics;
using System.Text;
using Mayfly.Lab.GitHub;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

public sealed class WebhookTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-webhook-").FullName;
    private Store _store = null!;
    private readonly InboxWake _inbox = new(TimeProvider.System);

    public async ValueTask InitializeAsync() => _store = await Store.OpenAsync(Path.Combine(_folder, "controller.db"), Some.Lease, TimeProvider.System);

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [MemberData(nameof(BadDelivery.Names), MemberType = typeof(BadDelivery))]
    public async Task A_bad_delivery_is_answered_counted_and_not_stored(string what)
    {
        var bad = BadDelivery.All[what];
        var (status, text, outcome) = await PostAsync(bad.Body, bad.Sign(Encoding.UTF8.GetString(Some.Secret), bad.Body), bad.Id, bad.Event);
        Assert.Equal(bad.Status, status);
        Assert.StartsWith($"{bad.Code}: ", text, StringComparison.Ordinal);
        Assert.Equal(bad.Code, outcome);
        Assert.Equal(0, await _store.Deliveries.CountAsync());
    }

    [Fact]
    public async Task A_good_delivery_is_stored_once_however_often_it_is_sent()
    {
        var body = Some.Event();
        var id = $"{Guid.NewGuid()}";
        var signature = Webhooks.Sign(Encoding.UTF8.GetString(Some.Secret), body);
        Assert.Equal((202, "accepted: stored\n", "accepted"), await PostAsync(body, signature, id, "workflow_job"));
        Assert.Equal((202, "known: stored before\n", "known"), await PostAsync(body, signature, id, "workflow_job"));
        var (stored, kept) = Assert.Single(await _store.TransactAsync(sql => Deliveries.TakeAsync(sql, 10)));
        Assert.Equal(id, stored);
        Assert.Equal(body, kept);
    }

    [Theory]
    [InlineData("a secret of the webhook", 202)]
    [InlineData("the secret before", 202)]
    [InlineData("the one before that", 401)]
    [InlineData("", 401)]
    public async Task While_the_secret_is_being_changed_either_signs(string secret, int status)
    {
        var body = Some.Event();
        var (answered, _, _) = await PostAsync(body, Webhooks.Sign(secret, body), $"{Guid.NewGuid()}", "workflow_job", Some.Secret, "the secret before"u8.ToArray());
        Assert.Equal(status, answered);
    }

    [Fact]
    public async Task A_body_of_exactly_the_limit_is_taken()
    {
        var body = Some.Event(e => e["padding"] = "");
        body = Some.Event(e => e["padding"] = new string('x', BadDelivery.MaxBody - body.Length));
        Assert.Equal(BadDelivery.MaxBody, body.Length);
        var (status, _, _) = await PostAsync(body, Webhooks.Sign(Encoding.UTF8.GetString(Some.Secret), body), $"{Guid.NewGuid()}", "workflow_job");
        Assert.Equal(202, status);
    }

    [Fact]
    public async Task A_delivery_that_cannot_be_stored_is_not_accepted()
    {
        using (var database = new Sqlite.SqliteConnection(Path.Combine(_folder, "controller.db")))
            database.Execute("DROP TABLE delivery");
        var body = Some.Event();
        var (status, text, outcome) = await PostAsync(body, Webhooks.Sign(Encoding.UTF8.GetString(Some.Secret), body), $"{Guid.NewGuid()}", "workflow_job");
        Assert.Equal((503, "not-stored: the delivery could not be stored; send it again\n", "not-stored"), (status, text, outcome));
    }

    /// <returns>Status, text, and what was counted.</returns>
    private async Task<(int Status, string Text, string? Outcome)> PostAsync(byte[] body, string? signature, string? id, string name, params byte[][] secrets)
    {
        var context = new DefaultHttpContext();
        context.Request.Body = new MemoryStream(body);
        context.Request.Headers["X-GitHub-Event"] = name;
        if (signature is not null)
            context.Request.Headers["X-Hub-Signature-256"] = signature;
        if (id is not null)
            context.Request.Headers["X-GitHub-Delivery"] = id;
        using var answer = new MemoryStream();
        context.Response.Body = answer;

        // Counting runs where the webhook does: other tests' counts come from other flows of execution.
        var counted = new AsyncLocal<List<string?>> { Value = [] };
        using var listener = new MeterListener { InstrumentPublished = (instrument, l) => { if (instrument.Name == "mayfly.webhook.answers") l.EnableMeasurementEvents(instrument); } };
        listener.SetMeasurementEventCallback<long>((_, count, tags, _) => counted.Value?.AddRange(Enumerable.Repeat(tags[0].Value as string, (int)count)));
        listener.Start();
        await new Webhook(_store.Deliveries, _inbox, Some.Settings(BadDelivery.MaxBody), secrets.Length > 0 ? secrets : [Some.Secret], NullLogger<Webhook>.Instance).HandleAsync(context);
        return (context.Response.StatusCode, Encoding.UTF8.GetString(answer.ToArray()), Assert.Single(counted.Value!));
    }
}
