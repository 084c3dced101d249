namespace Mayfly.Contract;

/// <summary>
/// Keys of the instance tags that the controller sets and the agent reads through the metadata service.
/// With tags in metadata switched on, EC2 takes only <c>0-9 a-z A-Z - _ + = , . @ :</c> in a key.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
/// </summary>
public static class Tags
{
    /// <summary>The launch this instance belongs to: repository, job id and attempt, for people and for reconciliation.</summary>
    public const string Launch = "mayfly:launch";

    /// <summary>Where the runner's configuration is: <c>ssm</c> (the default) or <c>tags</c>.</summary>
    public const string Config = "mayfly:config";

    /// <summary>Seconds that a runner may listen without being given a job. 1 to 86,400.</summary>
    public const string IdleTimeout = "mayfly:idle-timeout";

    /// <summary>Seconds that a job may run. 1 to 432,000 (GitHub's own limit of five days).</summary>
    public const string JobTimeout = "mayfly:job-timeout";

    /// <summary><c>true</c> lets the job's user become root inside its sandbox; <c>false</c> is the default.</summary>
    public const string Sudo = "mayfly:sudo";

    /// <summary>What a job may connect to: <c>open</c> (the default), <c>audit</c> or <c>allow</c>.</summary>
    public const string Egress = "mayfly:egress";

    /// <summary>For <c>allow</c>, beside the image's own list: host names (<c>*.example.com</c> for all below) and networks,
    /// with spaces between.</summary>
    public const string EgressAllow = "mayfly:egress-allow";

    /// <summary><c>true</c> has the agent look at each of its guarantees once the runner has started, and tell of them on the
    /// console; <c>false</c> is the default.</summary>
    public const string Check = "mayfly:check";

    /// <summary>GiB that scratch has to hold at least. 1 to 65,536.</summary>
    public const string ScratchGiB = "mayfly:scratch-gib";

    /// <summary>GiB of swap, 0 for none. 0 to 65,536.</summary>
    public const string SwapGiB = "mayfly:swap-gib";

    /// <summary>Of an AMI, from its image's manifest (packer/mayfly.pkr.hcl): the root hash.</summary>
    public const string RootHash = "mayfly:root-hash";

    /// <summary>Of an AMI: the release of the runner on it, such as <c>2.336.0</c>.</summary>
    public const string RunnerVersion = "mayfly:runner-version";

    /// <summary>Of an AMI: the day on which GitHub released that runner, <c>yyyy-MM-dd</c>. Absent if the build could not learn it.</summary>
    public const string RunnerReleased = "mayfly:runner-released";
}
