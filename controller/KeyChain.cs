using Amazon.Runtime;
using Amazon.Runtime.Credentials;
using Mayfly.Aws;

namespace Mayfly.Controller;

/// <summary>The controller's own credentials, as AWSSDK.Core finds and renews them: environment, files, a container's role, an
/// instance's role. Asked before each call, it answers those that hold.</summary>
internal sealed class KeyChain(AWSCredentials credentials)
{
    /// <exception cref="AmazonClientException">There are none.</exception>
    public static async Task<KeyChain> FindAsync() => new(await new DefaultAWSCredentialsIdentityResolver().ResolveIdentityAsync(null, CancellationToken.None));

    /// <summary>An <see cref="AwsKeySource"/>.</summary>
    public async ValueTask<AwsKeys> KeysAsync(CancellationToken cancel)
    {
        var keys = await credentials.GetCredentialsAsync().WaitAsync(cancel);
        return new AwsKeys(keys.AccessKey, keys.SecretKey, keys.UseToken ? keys.Token : null);
    }
}
