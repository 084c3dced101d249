namespace Mayfly.Controller.Policies;

/// <summary>Where machines are: an account, by the role that is assumed in it, and a region.</summary>
/// <param name="Role">Its ARN; null for the controller's own credentials.</param>
/// <param name="ExternalId">What the role's trust wants to hear; no secret.</param>
internal sealed record Site(string Region, string? Role = null, string? ExternalId = null)
{
    /// <summary>For people.</summary>
    public override string ToString() => Role is null ? Region : $"{Region} by {Role}";
}
