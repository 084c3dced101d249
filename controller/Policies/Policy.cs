namespace Mayfly.Controller.Policies;

/// <summary>What an operator lets whom have: docs/policy.md. The most specific rules hold: the repository's, its owner's, the default.</summary>
/// <param name="Label">What a job must bear.</param>
/// <param name="Repositories">By <c>owner/name</c> and <c>owner/*</c>, without regard to case; each is complete in itself.</param>
internal sealed record Policy(string Label, Caps Caps, Rules Default, IReadOnlyDictionary<string, Rules> Repositories)
{
    /// <summary>Wherever it has machines launched.</summary>
    public IEnumerable<Site> Sites => All.Select(r => r.Account.Site).Distinct();

    /// <summary>Whatever it has machines launched from.</summary>
    public IEnumerable<ImageSource> ImageSources => All.SelectMany(r => r.ImageSources).Distinct();

    private IEnumerable<Rules> All => Repositories.Values.Prepend(Default);

    public Rules For(string repository) =>
        Repositories.GetValueOrDefault(repository) ?? Repositories.GetValueOrDefault($"{repository.Split('/')[0]}/*") ?? Default;

    /// <summary>Without a policy file: what the settings say, and labels that cost nothing more.</summary>
    public static Policy Of(Settings settings) => PolicyFile.Parse("", "", settings);
}
