using Amazon.Runtime;
using Amazon.SecurityToken;
using Amazon.SecurityToken.Model;
using Mayfly.Controller.Reconciliation;
using Mayfly.Controller.Seen;
using Serilog;
using Serilog.Events;
using Serilog.Formatting;
using Serilog.Formatting.Display;
using Serilog.Formatting.Json;

namespace Mayfly.Controller;

/// <summary>
/// mayfly-controller: takes GitHub's workflow_job webhooks and launches one instance for each queued job.
/// Configuration: docs/controller.md. Credentials and endpoints of AWS: the standard variables and chain.
/// </summary>
internal static class Program
{
    private const int UsageError = 64; // EX_USAGE of sysexits.h
    private const int ConfigurationError = 78; // EX_CONFIG
    private const int StartFailed = 1;
    private static readonly TimeSpan CallLimit = TimeSpan.FromSeconds(15);

    /// <summary>From SIGTERM on: launches finish or are undone, and in ten seconds more all else has stopped. docs/controller.md
    /// promises it, and the stack's StopTimeout is longer.</summary>
    internal static readonly TimeSpan StopLimit = Scheduler.FinishLimit + Launcher.UndoLimit + TimeSpan.FromSeconds(10);

    private const string Help =
        """
        mayfly-controller: one EC2 instance for each queued GitHub Actions job.

          (no argument)    serve until stopped
          --check-config   check the configuration and end
          --health         ask the controller that serves here whether it is alive: 0, or 1 and why not
          --help-config    print every setting, as in docs/controller.md
          --help-policy    print every key of the policy file, as in docs/policy.md
          --version        print the version
          --help           print this

        Settings: appsettings.json or Mayfly__… variables.
        """;

    private static string? Version => typeof(Program).Assembly.GetName().Version?.ToString(3);

    public static async Task<int> Main(string[] arguments)
    {
        switch (arguments)
        {
            case ["--help"]:
                Console.WriteLine(Help);
                return 0;
            case ["--help-config"]:
                Console.Write(Settings.ReferenceTable);
                return 0;
            case ["--help-policy"]:
                Console.Write(PolicyFile.ReferenceTable);
                return 0;
            case ["--version"]:
                Console.WriteLine(Version);
                return 0;
            case ["--health"]:
                return await HealthProbe.AskAsync();
            case not ([] or ["--check-config"]):
                await Console.Error.WriteLineAsync(Help);
                return UsageError;
        }

        try
        {
            var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { Args = [], ContentRootPath = AppContext.BaseDirectory });
            var settings = Settings.From(builder.Configuration);
            _ = await PolicySource.ReadAsync(settings, CancellationToken.None);
            var secrets = await AppSecrets.ReadAsync(settings);
            if (arguments is ["--check-config"])
            {
                Console.WriteLine("the configuration is usable");
                return 0;
            }

            await using var store = await Store.OpenAsync(settings.Database, settings.Lease, TimeProvider.System, secrets.DatabasePassword);
            await using var app = await BuildAsync(builder, settings, secrets, store, TimeProvider.System);
            await app.RunAsync();
            return 0;
        }
        catch (Exception e) when (e is SettingsException or Database.StoreException)
        {
            await Console.Error.WriteLineAsync($"mayfly-controller: {e.Message}");
            return ConfigurationError;
        }
        catch (Exception e) when (e is AmazonClientException or AmazonServiceException or HttpRequestException or IOException or TimeoutException)
        {
            await Console.Error.WriteLineAsync($"mayfly-controller: did not start: {e.Message}");
            return StartFailed;
        }
    }

    /// <summary>The controller, ready to run.</summary>
    /// <param name="time">All that it waits for and measures goes by this clock.</param>
    internal static async Task<WebApplication> BuildAsync(WebApplicationBuilder builder, Settings settings, AppSecrets secrets, Store store, TimeProvider time)
    {
        ITextFormatter formatter = settings.LogAsJson ? new JsonFormatter(renderMessage: true) : new MessageTemplateTextFormatter("[{Timestamp:HH:mm:ss} {Level:u3}] {Message:l}{NewLine}{Exception}", System.Globalization.CultureInfo.InvariantCulture);
        builder.Logging.ClearProviders();
        builder.Logging.AddSerilog(new LoggerConfiguration()
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            .MinimumLevel.Override("Microsoft.Hosting.Lifetime", LogEventLevel.Information)
            .WriteTo.Console(formatter).CreateLogger(), dispose: true);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = StopLimit);
        // A larger body is answered by the webhook itself, with its reason.
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestBodySize = null);
        if (Environment.GetEnvironmentVariable("ASPNETCORE_URLS") is null)
            builder.WebHost.UseUrls(HealthProbe.DefaultAddress);

        var keys = await KeyChain.FindAsync();
        var github = new GitHubApp(new HttpClient { BaseAddress = settings.GitHubApi, Timeout = CallLimit }, settings, secrets.Key, time);
        var sites = new AwsSites(keys, await FindAccountAsync(settings), settings, time);
        var inbox = new InboxWake(time);

        builder.Services.AddSingleton(time).AddSingleton(settings).AddSingleton(store).AddSingleton(store.Launches).AddSingleton(inbox).AddSingleton<QueueWake>().AddSingleton<Heart>().AddSingleton<Health>().AddSingleton(_ => new Observers(Version))
            .AddSingleton(sites).AddSingleton(github).AddSingleton<SpotBreaker>().AddSingleton<Fleet>().AddSingleton<Launcher>().AddSingleton<Intake>();
        var policy = await PolicySource.ReadAsync(settings, CancellationToken.None);
        builder.Services.AddSingleton(services => new PolicySource(policy, settings, sites.At(sites.Home).Ssm, time, services.GetRequiredService<ILogger<PolicySource>>()));
        builder.Services.AddSingleton<GitHubView>().AddSingleton<Repositories>().AddSingleton<Look>().AddSingleton<Doer>().AddSingleton<Redelivery>().AddSingleton<QueueListing>().AddSingleton<ImageWatch>();
        // The first to start is the last to stop.
        builder.Services.AddHostedService(services => services.GetRequiredService<Heart>()).AddHostedService(services => services.GetRequiredService<PolicySource>())
            .AddHostedService(services => services.GetRequiredService<Intake>()).AddHostedService<Scheduler>().AddHostedService<RefusalTeller>()
            .AddHostedService<Reconciler>().AddHostedService<LostEvents>().AddHostedService(services => services.GetRequiredService<ImageWatch>()).AddHostedService<Counting>().AddHostedService<Pruner>().AddHostedService<Accountant>();
        var app = builder.Build();
        app.MapPost("/webhook", new Webhook(store.Deliveries, inbox, settings, secrets.Webhook, app.Services.GetRequiredService<ILogger<Webhook>>()).HandleAsync);
        var (health, page) = (app.Services.GetRequiredService<Health>(), app.Services.GetRequiredService<Observers>().Page);
        app.MapGet("/healthz", health.Alive);
        app.MapGet("/readyz", health.ReadyAsync);
        app.MapGet("/metrics", () => Results.Text(page.Render(), MetricsPage.ContentType));
        app.Logger.LogInformation("mayfly-controller {Version}: {Repositories}, label {Label}, launch template {Template} in {Region}, database {Database}, policy {Policy}",
            Version, string.Join(", ", settings.Repositories), settings.Label, settings.LaunchTemplate, settings.Region, settings.Database, settings.Policy.Length > 0 ? settings.Policy : "of the settings");
        return app;
    }

    private static async Task<AwsAccount> FindAccountAsync(Settings settings)
    {
        using var sts = new AmazonSecurityTokenServiceClient();
        var identity = await sts.GetCallerIdentityAsync(new GetCallerIdentityRequest());
        return new AwsAccount(identity.Arn.Split(':')[1], identity.Account, settings.Region);
    }
}
