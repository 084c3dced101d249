namespace Mayfly.Controller;

/// <summary>A repository, and the App's installation that reaches it.</summary>
/// <param name="FullName"><c>owner/name</c>.</param>
internal sealed record Repo(long Installation, string FullName);
