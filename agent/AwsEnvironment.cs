namespace Mayfly.Agent;

/// <summary>
/// Standard AWS variables that a machine gets beside its image: a systemd credential named <c>mayfly.environment</c>,
/// from the firmware (SMBIOS type 11) or baked into <c>/etc/credstore</c>, with a <c>NAME=VALUE</c> a line. For
/// endpoints in private networks; credentials never come this way.
/// https://systemd.io/CREDENTIALS/, https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
/// </summary>
internal static class AwsEnvironment
{
    public const string CredentialName = "mayfly.environment";

    private static readonly IReadOnlyList<string> Allowed =
    [
        "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_STS",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
    ];

    /// <exception cref="FormatException">Names the line's number and name, never its value.</exception>
    public static IReadOnlyList<(string Name, string Value)> Parse(string text)
    {
        var variables = new List<(string, string)>();
        var lines = text.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            var line = lines[i].Trim();
            if (line.Length == 0 || line.StartsWith('#'))
                continue;
            var equals = line.IndexOf('=');
            if (equals <= 0 || !Allowed.Contains(line[..equals]))
                throw new FormatException($"credential {CredentialName}, line {i + 1}: NAME=VALUE with a name among {string.Join(", ", Allowed)} is wanted");
            variables.Add((line[..equals], line[(equals + 1)..]));
        }

        return variables;
    }

    /// <summary>Sets the variables for this process, which starts the runner with another environment.</summary>
    /// <param name="folder">Where systemd has put the unit's credentials; null if there are none.</param>
    public static void Apply(string? folder)
    {
        if (string.IsNullOrEmpty(folder))
            return;
        var path = Path.Combine(folder, CredentialName);
        if (!File.Exists(path))
            return;
        foreach (var (name, value) in Parse(File.ReadAllText(path)))
            Environment.SetEnvironmentVariable(name, value);
    }
}
