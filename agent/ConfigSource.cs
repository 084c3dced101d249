using System.Security.Cryptography;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>A place that the controller leaves the envelope in. Each call is one look; whatever goes wrong is thrown as the
/// service said it.</summary>
internal interface IConfigSource
{
    /// <summary>For people: where it is.</summary>
    string Name { get; }

    /// <summary>The envelope; null while it is not there, or not whole.</summary>
    Task<Secret?> ReadAsync(CancellationToken cancel);

    /// <summary>Deletes it. That it returns is the proof: whatever keeps it from being certain is thrown.</summary>
    Task DeleteAsync(CancellationToken cancel);

    /// <summary>Whether nothing of it can be read any more; asked once it is deleted.</summary>
    Task<bool> IsGoneAsync(CancellationToken cancel);
}

/// <summary>An SSM SecureString named after the instance.</summary>
internal sealed class ParameterSource(SsmClient ssm, string instanceId) : IConfigSource
{
    public string Name { get; } = ConfigParameter.NameFor(instanceId);

    public async Task<Secret?> ReadAsync(CancellationToken cancel)
    {
        try
        {
            return await ssm.GetDecryptedAsync(Name, cancel);
        }
        catch (AwsException e) when (e.Code == "ParameterNotFound")
        {
            return null;
        }
    }

    /// <summary>A refusal is none that it is gone: SSM also denies what a replica does not know the tag of yet, or the role's
    /// policy does not allow. Where the answer to a deletion was lost, no later one comes, and no job runs.</summary>
    public Task DeleteAsync(CancellationToken cancel) => ssm.DeleteAsync(Name, cancel);

    public async Task<bool> IsGoneAsync(CancellationToken cancel)
    {
        try
        {
            using var still = await ssm.GetDecryptedAsync(Name, cancel);
            return false;
        }
        // A policy that asks for a tag on the parameter answers AccessDenied for one that is gone: of it no tag is left to match.
        catch (AwsException e) when (e.Code is "ParameterNotFound" or "AccessDeniedException" && !ConfigTrouble.IsOfTheKey(e))
        {
            return true;
        }
    }
}

/// <summary>The instance's own tags, read through the metadata service and deleted through EC2.</summary>
internal sealed class TagSource(Imds imds, Ec2Client ec2, string instanceId) : IConfigSource
{
    public string Name { get; } = $"tags {ConfigTags.Prefix}* of {instanceId}";

    public async Task<Secret?> ReadAsync(CancellationToken cancel)
    {
        var keys = await imds.TagKeysAsync(cancel);
        if (!keys.Contains(ConfigTags.CountKey))
            return null;
        if (ConfigTags.PiecesOf(await imds.GetAsync(Imds.TagPath(ConfigTags.CountKey), cancel), keys) is not { } wanted)
            return null;

        var reading = wanted.Select(key => imds.GetBytesAsync(Imds.TagPath(key), cancel)).ToList();
        try
        {
            var pieces = await Task.WhenAll(reading);
            if (pieces.Any(piece => piece is null))
                return null;
            var envelope = Secret.Allocate(pieces.Sum(piece => piece!.Length));
            var at = 0;
            foreach (var piece in pieces)
            {
                piece!.CopyTo(envelope, at);
                at += piece.Length;
            }

            return new Secret(envelope);
        }
        finally
        {
            // All of them have ended, also where one failed.
            foreach (var read in reading.Where(read => read.IsCompletedSuccessfully))
                CryptographicOperations.ZeroMemory(await read);
        }
    }

    public Task DeleteAsync(CancellationToken cancel) => ec2.DeleteTagsAsync(instanceId, ConfigTags.Keys, cancel);

    public async Task<bool> IsGoneAsync(CancellationToken cancel) =>
        !(await imds.TagKeysAsync(cancel)).Any(key => key.StartsWith(ConfigTags.Prefix, StringComparison.Ordinal));
}
