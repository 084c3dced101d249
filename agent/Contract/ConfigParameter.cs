namespace Mayfly.Contract;

/// <summary>The SSM parameter that carries one instance's envelope.</summary>
public static class ConfigParameter
{
    /// <summary>Every Mayfly parameter stands below this path, so that a policy and a clean-up can name them all.</summary>
    public const string Path = "/mayfly/config/";

    /// <summary>
    /// Tag on the parameter that holds the instance's ARN. The instance's role compares it with
    /// <c>${ec2:SourceInstanceARN}</c> and so reaches its own parameter and no other.
    /// </summary>
    public const string InstanceTag = "mayfly:instance";

    /// <summary>The parameter's name, from the instance's id.</summary>
    public static string NameFor(string instanceId) => Path + instanceId;
}
