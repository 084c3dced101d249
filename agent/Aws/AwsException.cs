using System.Net;

namespace Mayfly.Aws;

/// <summary>A service refused a call. Carries its own error code, so that callers can tell refusals apart.</summary>
public sealed class AwsException(string action, string code, string message, HttpStatusCode status)
    : Exception($"{action}: {code}: {message} (HTTP {(int)status})")
{
    public string Action { get; } = action;

    /// <summary>The service's code, such as <c>ParameterNotFound</c> or <c>InsufficientInstanceCapacity</c>.</summary>
    public string Code { get; } = code;

    public HttpStatusCode Status { get; } = status;

    /// <summary>The call was not carried out and may be made again after a pause.
    /// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html</summary>
    public bool IsThrottling => Code is "RequestLimitExceeded" or "ResourceLimitExceeded" or "Throttling"
        or "ThrottlingException" or "TooManyRequestsException" or "TooManyUpdates" || Status == HttpStatusCode.TooManyRequests;

    /// <summary>The service failed on its own side.</summary>
    public bool IsServerFault => (int)Status >= 500;
}
