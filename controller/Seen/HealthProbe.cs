namespace Mayfly.Controller.Seen;

/// <summary>
/// <c>--health</c>: asks the controller that serves on this machine for its <c>/healthz</c>. For a container's health check, which
/// has no other program to ask with. Addresses as the controller itself takes them.
/// </summary>
internal static class HealthProbe
{
    public const string DefaultAddress = "http://127.0.0.1:8080";

    /// <summary>Less than what the stack's health check waits.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    /// <returns>The exit code: 0 if it is alive, else 1, with the reason on standard error.</returns>
    public static async Task<int> AskAsync()
    {
        var urls = Environment.GetEnvironmentVariable("ASPNETCORE_URLS") ?? DefaultAddress;
        try
        {
            using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = Limit };
            using var answer = await http.GetAsync(new Uri(AddressOf(urls), "healthz"));
            if (answer.IsSuccessStatusCode)
                return 0;
            await Console.Error.WriteAsync($"mayfly-controller: {await answer.Content.ReadAsStringAsync()}");
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or FormatException)
        {
            await Console.Error.WriteLineAsync($"mayfly-controller: no answer at ASPNETCORE_URLS='{urls}': {e.Message}");
        }

        return 1;
    }

    /// <summary>The first address without TLS; one that is bound on all interfaces is asked on the loopback.</summary>
    /// <exception cref="FormatException">There is none.</exception>
    public static Uri AddressOf(string urls)
    {
        foreach (var url in urls.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (BindingAddress.Parse(url) is { Scheme: "http" } address)
                return new UriBuilder("http", address.Host is "*" or "+" or "0.0.0.0" ? "127.0.0.1" : address.Host is "[::]" ? "[::1]" : address.Host, address.Port).Uri;
        }

        throw new FormatException("it names no http address");
    }
}
