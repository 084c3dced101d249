using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>What went wrong with a call for the configuration: which ending it becomes if it lasts, and for how long it is
/// worth asking again.</summary>
internal sealed record ConfigTrouble(string Ending, string Why, TimeSpan Patience)
{
    /// <summary>A grant or a key that was just made is not known everywhere at once; one that is missing stays so.</summary>
    private static readonly TimeSpan Brief = TimeSpan.FromSeconds(10);

    /// <summary>Nothing is there.</summary>
    public static readonly ConfigTrouble Absent = new("config-absent", "it is not there; look at the controller's log for this instance", TimeSpan.MaxValue);

    /// <summary>Null: not one that step 6 knows, and not to be tried again.</summary>
    public static ConfigTrouble? Of(Exception e) => e switch
    {
        AwsException { IsThrottling: true } or AwsException { Code: "KMSThrottlingException" } =>
            new("config-throttled", e.Message, TimeSpan.MaxValue),
        AwsException aws when IsOfTheKey(aws) =>
            new("config-kms-refused", $"{e.Message}; look at the key's state and policy, and at kms:Decrypt of the instance's role", Brief),
        // Also the answer for a parameter that is not there yet, or not yet tagged: of it no tag matches the policy.
        AwsException { Code: "AccessDeniedException" or "UnauthorizedOperation" } =>
            new("config-access-denied", $"{e.Message}; either the controller has stored nothing for this instance (look at its log), or the role's policy does not allow it", TimeSpan.MaxValue),
        AwsException { IsServerFault: true } => new("config-server-fault", e.Message, TimeSpan.MaxValue),
        HttpRequestException or TimeoutException =>
            new("config-unreachable", $"{e.Message}; look at the subnet's routes, DNS and endpoints", TimeSpan.MaxValue),
        _ => null,
    };

    /// <summary>GetParameter hands KMS's refusals on under KMS's names, and some as AccessDenied with KMS's words.
    /// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html,
    /// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html</summary>
    public static bool IsOfTheKey(AwsException e) => e.Code is "InvalidKeyId" || e.Code.StartsWith("KMS", StringComparison.Ordinal)
        || (e.Code == "AccessDeniedException"
            && (e.Message.Contains("kms:", StringComparison.Ordinal) || e.Message.Contains("ciphertext refers to", StringComparison.Ordinal)));
}
