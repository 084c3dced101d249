namespace Mayfly.Lab.Aws;

/// <summary>What a service answers instead of a result: its own code, message and HTTP status.</summary>
internal sealed class AwsFault(string code, string message, int status = 400) : Exception(message)
{
    public string Code { get; } = code;

    public int Status { get; } = status;
}
