namespace Mayfly.Agent;

/// <summary>The unprivileged user that the runner and its job run as; made by the image.</summary>
internal static class RunnerUser
{
    public const string Name = "runner";
    public const uint Id = 1001;
    public const string Home = "/home/runner";

    /// <summary>
    /// A program and arguments, to be run as the runner's user: no other group, no capability left even in the bounding
    /// set, and no way to gain any (no-new-privileges disarms set-user-ID programs).
    /// </summary>
    public static string[] Command(params ReadOnlySpan<string> programAndArguments) =>
    [
        "/usr/bin/setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "--no-new-privs",
        "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--", .. programAndArguments,
    ];
}
