using System.Text.RegularExpressions;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ssm;

/// <summary>What a parameter may be called.
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html#sysman-parameter-name-constraints</summary>
internal static partial class ParameterName
{
    /// <summary>Of the 1,011 characters, the ones before the name in its ARN count too.</summary>
    private const int MostCharacters = 1011;

    private const int MostLevels = 15;

    /// <exception cref="AwsFault">What PutParameter refuses.</exception>
    public static void Check(string name, string arn)
    {
        if (ReservedPattern().IsMatch(name))
        {
            throw name.StartsWith('/')
                ? new AwsFault("AccessDeniedException", $"No access to reserved parameter name: {name}.")
                : new AwsFault("ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).");
        }

        if (!Pattern().IsMatch(name))
            throw new AwsFault("ValidationException", "Parameter name: can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_");
        if (name.Contains('/', StringComparison.Ordinal) && !name.StartsWith('/'))
            throw new AwsFault("ValidationException", "Parameter name must be a fully qualified name.");
        if (arn.Length > MostCharacters)
            throw new AwsFault("ValidationException", $"Parameter name: with its ARN it can't be longer than {MostCharacters} characters.");
        if (name.Count(c => c == '/') > MostLevels)
            throw new AwsFault("HierarchyLevelLimitExceededException", $"A hierarchy can have a maximum of {MostLevels} levels.");
    }

    [GeneratedRegex("^/?(aws|ssm)", RegexOptions.IgnoreCase)]
    private static partial Regex ReservedPattern();

    [GeneratedRegex("^/?[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$")]
    private static partial Regex Pattern();
}
