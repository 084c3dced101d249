using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Web;
using System.Xml.Linq;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.Ssm;

namespace Mayfly.Lab.Aws;

/// <summary>
/// EC2, SSM and STS behind one address, told apart as AWS's front ends do: by the service in the signature's scope.
/// </summary>
internal sealed class AwsServer(SigV4 signatures, Ec2Service ec2, SsmService ssm, StsService sts)
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
                    await AnswerJsonAsync(context, 200, ssm.Call(context.Request, body, signed.Key.Principal));
                    break;
                case "ec2":
                    await AnswerXmlAsync(context, 200, ec2.Call(QueryOf(context.Request, body), signed, requestId));
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
        foreach (var text in (string?[])[request.QueryString.Value, Encoding.UTF8.GetString(body)])
        {
            var values = HttpUtility.ParseQueryString(text ?? "");
            foreach (var key in values.AllKeys.OfType<string>())
                parameters[key] = values.GetValues(key) is [var only] ? only : throw new AwsFault("InvalidParameterCombination", $"{key} is given more than once");
        }

        return parameters;
    }

    /// <summary>EC2 and STS wrap their errors differently.</summary>
    private static XElement ErrorOf(HttpRequest request, AwsFault fault, string requestId)
    {
        var isSts = request.Headers.Authorization.ToString().Contains("/sts/aws4_request", StringComparison.Ordinal);
        var error = new XElement("Error", new XElement("Code", fault.Code), new XElement("Message", fault.Message));
        return isSts
            ? new XElement("ErrorResponse", error, new XElement("RequestId", requestId))
            : new XElement("Response", new XElement("Errors", error), new XElement("RequestID", requestId));
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
