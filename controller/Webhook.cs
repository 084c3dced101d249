using System.Buffers;
using Mayfly.Controller.Database;
using Mayfly.Controller.Seen;

namespace Mayfly.Controller;

/// <summary>POST /webhook: verify, store, answer. Nothing is answered with 202 that is not on the disk.</summary>
internal sealed partial class Webhook(Deliveries deliveries, InboxWake inbox, Settings settings, IReadOnlyList<byte[]> secrets, ILogger<Webhook> log)
{
    public async Task HandleAsync(HttpContext context)
    {
        if (await ReadAsync(context.Request, settings.MaxBody, context.RequestAborted) is not { } body)
        {
            await AnswerAsync(context, new Refusal(413, "oversize", $"the body is larger than Mayfly:MaxBody, {settings.MaxBody} bytes"));
            return;
        }

        var (delivery, refusal) = Delivery.Verify(context.Request.Headers, body, secrets, settings);
        if (delivery is null)
        {
            await AnswerAsync(context, refusal!);
            return;
        }

        bool isNew;
        try
        {
            isNew = await deliveries.AcceptAsync(delivery);
        }
        catch (StoreException e)
        {
            LogNotStored(delivery.Id, e.Message);
            await AnswerAsync(context, new Refusal(503, "not-stored", "the delivery could not be stored; send it again"));
            return;
        }

        if (isNew)
            inbox.Set();
        await AnswerAsync(context, new Refusal(202, isNew ? "accepted" : "known", isNew ? "stored" : "stored before"));
    }

    /// <summary>The whole body, or null if it is longer than allowed; then it is not read to its end.</summary>
    private static async Task<byte[]?> ReadAsync(HttpRequest request, int most, CancellationToken cancel)
    {
        if (request.ContentLength > most)
            return null;
        // What has come waits in the server's own buffers, whose memory it uses again; it is copied once.
        var read = await request.BodyReader.ReadAtLeastAsync(most + 1, cancel);
        var body = read.Buffer.Length > most ? null : read.Buffer.ToArray();
        request.BodyReader.AdvanceTo(read.Buffer.End);
        return body;
    }

    private static async Task AnswerAsync(HttpContext context, Refusal answer)
    {
        Figures.WebhookAnswers.Add(1, new KeyValuePair<string, object?>("outcome", answer.Code));
        context.Response.StatusCode = answer.Status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        await context.Response.WriteAsync($"{answer.Code}: {answer.Reason}\n", context.RequestAborted);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "delivery {Delivery} could not be stored: {Reason}")]
    private partial void LogNotStored(string delivery, string reason);
}
