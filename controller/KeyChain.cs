using System.Net;
using Amazon.Runtime;
using Amazon.Runtime.Credentials;
using Mayfly.Aws;

namespace Mayfly.Controller;

/// <summary>Credentials as AWSSDK.Core finds and renews them: the controller's own, by environment, files, a container's role or an
/// instance's role, and those of roles that it assumes. Asked before each call, it answers those that hold.</summary>
internal sealed class KeyChain(AWSCredentials credentials)
{
    /// <summary>What CloudTrail shows beside the role.</summary>
    private const string SessionName = "mayfly-controller";

    /// <exception cref="AmazonClientException">There are none.</exception>
    public static async Task<KeyChain> FindAsync() => new(await new DefaultAWSCredentialsIdentityResolver().ResolveIdentityAsync(null, CancellationToken.None));

    /// <summary>Those of a role, assumed anew before they end.</summary>
    public KeyChain Assuming(string role, string? externalId) =>
        new(new AssumeRoleAWSCredentials(credentials, role, SessionName, new AssumeRoleAWSCredentialsOptions { ExternalId = externalId }));

    /// <summary>An <see cref="AwsKeySource"/>.</summary>
    /// <exception cref="AwsException">The role cannot be assumed.</exception>
    /// <exception cref="TimeoutException">Whoever gives the credentials cannot be reached.</exception>
    public async ValueTask<AwsKeys> KeysAsync(CancellationToken cancel)
    {
        try
        {
            var keys = await credentials.GetCredentialsAsync().WaitAsync(cancel);
            return new AwsKeys(keys.AccessKey, keys.SecretKey, keys.UseToken ? keys.Token : null);
        }
        catch (Exception e) when (e is AmazonClientException or AmazonServiceException)
        {
            throw ServiceErrorIn(e) is { ErrorCode: { Length: > 0 } code } refused
                ? new AwsException("AssumeRole", code, refused.Message, refused.StatusCode)
                : new TimeoutException($"there are no credentials: {e.Message}", e);
        }
    }

    private static AmazonServiceException? ServiceErrorIn(Exception? e) => e is null or AmazonServiceException ? e as AmazonServiceException : ServiceErrorIn(e.InnerException);
}
