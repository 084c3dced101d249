namespace Mayfly.Controller.Policies;

/// <summary>What an operator lets whom have: docs/policy.md. The most specific rules hold: the repository's, its owner's, the default.</summary>
/// <param name="Label">What a job must bear.</param>
/// <param name="Repositories">By <c>owner/name</c> and <c>owner/*</c>, without regard to case; each is complete in itself.</param>
internal sealed record Policy(string Label, Caps Caps, Rules Default, IReadOnlyDictionary<string, Rules> Repositories)
{
    /// <summary>Wherever it has machines launched. Found once: the scheduler asks at each of its turns, and there may be thousands of entries.</summary>
    public IReadOnlyList<Site> Sites { get; } = [.. Repositories.Values.Prepend(Default).Select(r => r.Account.Site).Distinct()];

    /// <summary>Whatever it has machines launched from.</summary>
    public IReadOnlyList<ImageSource> ImageSources { get; } = [.. Repositories.Values.Prepend(Default).SelectMany(r => r.ImageSources).Distinct()];

    public Rules For(string repository) =>
        Repositories.GetValueOrDefault(repository) ?? Repositories.GetValueOrDefault($"{repository.Split('/')[0]}/*") ?? Default;

    /// <summary>Without a policy file: what the settings say, and labels that cost nothing more.</summary>
    public static Policy Of(Settings settings) => PolicyFile.Parse("", "", settings);
}
