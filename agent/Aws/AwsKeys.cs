namespace Mayfly.Aws;

/// <summary>What requests are signed with.</summary>
/// <param name="Token">Session token of keys that end; null for lasting ones.</param>
public sealed record AwsKeys(string Id, string Secret, string? Token)
{
    /// <summary>A record would print what it holds.</summary>
    public override string ToString() => "***";
}

/// <summary>Answers the keys that hold now. Asked before each try of each call, so that renewing them is its own affair.</summary>
public delegate ValueTask<AwsKeys> AwsKeySource(CancellationToken cancel);
