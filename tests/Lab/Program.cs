using System.Runtime.InteropServices;
using Mayfly.Lab;

const string help =
    """
    mayfly-lab: GitHub and AWS on this machine.

      serve [--port=N]   serve EC2, SSM, STS, KMS, IMDS and GitHub on the loopback until stopped; machines only pretend to boot
      demo ...           run one job from end to end on a virtual machine (called by ./build.sh --target=Demo)
    """;

switch (args)
{
    case ["serve", .. var options]:
        return await ServeAsync(options);
    case ["demo", .. var options]:
        return await Demo.RunAsync(options);
    case ["--help"]:
        Console.WriteLine(help);
        return 0;
    default:
        Console.Error.WriteLine(help);
        return 64;
}

static async Task<int> ServeAsync(string[] options)
{
    ushort port = 0;
    if (options is not [] && !(options is [var only] && only.StartsWith("--port=", StringComparison.Ordinal) && ushort.TryParse(only[7..], out port)))
    {
        Console.Error.WriteLine($"serve: not an option or not a port: {string.Join(' ', options)}\n\n{help}");
        return 64;
    }

    await using var lab = await Lab.StartAsync(new LabOptions { AwsPort = port });
    var template = lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");

    // One machine is there from the start, so that there is a metadata service to ask.
    var instance = lab.Fleet.RunInstances(new Mayfly.Lab.Aws.QueryInput(new Dictionary<string, string>
    {
        ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = template.Name,
    }));
    _ = instance;
    var imds = await lab.OpenImdsAsync(lab.Fleet.Instances.Single().Id);
    var aws = lab.AwsAddress.AbsoluteUri.TrimEnd('/');
    var stopped = new TaskCompletionSource();
    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    Console.WriteLine(
        $"""
        # EC2, SSM, STS and KMS; pretend machines only. The metadata service is that of {lab.Fleet.Instances.Single().Id}.
        export AWS_ENDPOINT_URL={aws}
        export AWS_ENDPOINT_URL_EC2={aws}
        export AWS_ENDPOINT_URL_SSM={aws}
        export AWS_ENDPOINT_URL_STS={aws}
        export AWS_ENDPOINT_URL_KMS={aws}
        export AWS_ENDPOINT_URL_PRICING={aws}
        export AWS_EC2_METADATA_SERVICE_ENDPOINT={imds.AbsoluteUri.TrimEnd('/')}
        export AWS_REGION={lab.Options.Region} AWS_DEFAULT_REGION={lab.Options.Region}
        export AWS_ACCESS_KEY_ID={lab.User.Id} AWS_SECRET_ACCESS_KEY={lab.User.Secret}
        # GitHub's REST API and the runner's protocol
        export GITHUB_API_URL={lab.GitHubAddress.AbsoluteUri.TrimEnd('/')}
        # serving until stopped
        """);
    await stopped.Task;
    return 0;

    void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        stopped.TrySetResult();
    }
}
