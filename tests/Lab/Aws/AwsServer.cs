using System.Collections.Specialized;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Web;
using System.Xml.Linq;
using Mayfly.Lab.Kms;
using Mayfly.Lab.Pricing;

namespace Mayfly.Lab.Aws;

/// <summary>
/// EC2, SSM, KMS, STS and the price list behind one address, told apart as AWS's front ends do: by the service and the region in the
/// signature's scope, and by the account of whoever signed.
/// </summary>
internal sealed class AwsServer(SigV4 signatures, Func<Signed, Place> placeOf, StsService sts, KmsService kms, PriceList prices)
{
    public async Task HandleAsync(HttpContext context)
    {
        using var buffer = new MemoryStream();
        await context.Request.Body.CopyToAsync(buffer, context.RequestAborted);
        var body = buffer.ToArray();
        var isJson = context.Request.Headers.ContainsKey("X-Amz-Target");
        var requestId = Guid.NewGuid().ToString();
        context.Response.Headers["x-amzn-RequestId"] = requestId;
        try
        {
            var signed = signatures.Verify(context.Request, body);
            switch (signed.Service)
            {
                case "ssm":
                    await AnswerJsonAsync(context, 200, placeOf(signed).Ssm.Call(context.Request, body, signed.Key.Principal));
                    break;
                case "kms":
                    await AnswerJsonAsync(context, 200, kms.Call(context.Request, body, signed.Key.Principal));
                    break;
                case "pricing":
                    await AnswerJsonAsync(context, 200, prices.Call(context.Request, body, signed.Key.Principal));
                    break;
                case "ec2":
                    await AnswerXmlAsync(context, 200, placeOf(signed).Ec2.Call(QueryOf(context.Request, body), signed, requestId));
                    break;
                case "sts":
                    await AnswerXmlAsync(context, 200, sts.Call(QueryOf(context.Request, body), signed.Key, requestId));
                    break;
                default:
                    throw new AwsFault("InvalidAction", $"The lab has no service {signed.Service}", 404);
            }
        }
        catch (AwsFault fault) when (isJson)
        {
            await AnswerJsonAsync(context, fault.Status, new JsonObject { ["__type"] = fault.Code, ["message"] = fault.Message });
        }
        catch (AwsFault fault)
        {
            await AnswerXmlAsync(context, fault.Status, ErrorOf(context.Request, fault, requestId));
        }
    }

    private static Dictionary<string, string> QueryOf(HttpRequest request, byte[] body)
    {
        var parameters = new Dictionary<string, string>();
        // A body of another kind holds no parameters, whatever it looks like.
        var form = request.HasFormContentType ? Encoding.UTF8.GetString(body) : "";
        foreach (var values in (NameValueCollection[])[HttpUtility.ParseQueryString(request.QueryString.Value ?? ""), HttpUtility.ParseQueryString(form)])
        {
            foreach (var key in values.AllKeys)
            {
                if (key is null || values.GetValues(key) is not [var only] || !parameters.TryAdd(key, only))
                    throw new AwsFault("MalformedQueryString", $"{key ?? "a parameter"} has no name or is given more than once");
            }
        }

        return parameters;
    }

    /// <summary>EC2 and STS wrap their errors differently.</summary>
    private static XElement ErrorOf(HttpRequest request, AwsFault fault, string requestId)
    {
        var isSts = request.Headers.Authorization.ToString().Contains("/sts/aws4_request", StringComparison.Ordinal);
        if (!isSts)
        {
            return new XElement("Response",
                new XElement("Errors", new XElement("Error", new XElement("Code", fault.Code), new XElement("Message", fault.Message))), new XElement("RequestID", requestId));
        }

        var space = StsService.Space;
        return new XElement(space + "ErrorResponse",
            new XElement(space + "Error", new XElement(space + "Type", fault.Status < 500 ? "Sender" : "Receiver"), new XElement(space + "Code", fault.Code), new XElement(space + "Message", fault.Message)),
            new XElement(space + "RequestId", requestId));
    }

    private static async Task AnswerXmlAsync(HttpContext context, int status, XElement root)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/xml;charset=UTF-8";
        await context.Response.WriteAsync("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + root.ToString(SaveOptions.DisableFormatting), context.RequestAborted);
    }

    private static async Task AnswerJsonAsync(HttpContext context, int status, JsonObject answer)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/x-amz-json-1.1";
        await context.Response.WriteAsync(answer.ToJsonString(JsonSerializerOptions.Default), context.RequestAborted);
    }

    public static string Stamp(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
}
