using System.Globalization;
using System.Net;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Controller.Launching;

/// <summary>
/// Gets one instance for a job. EC2 chooses among the pools of the order; where it has nothing on spot, and the order
/// lets it, it is asked again on demand. Each request has a client token of its own, and each answer that is none is written down before
/// the next is asked for: however often this is begun anew, there is one machine.
/// </summary>
internal sealed partial class Fleet(AwsSites sites, SpotBreaker breaker, Settings settings, Launches launches, ILogger<Fleet> log)
{
    /// <param name="spent">Client tokens of the launch that EC2 has answered for good.</param>
    /// <returns>The instance's id.</returns>
    /// <exception cref="LaunchRefusedException">Waiting does not mend it.</exception>
    /// <exception cref="AwsException">It passes.</exception>
    public async Task<string> LaunchAsync(LaunchRecord launch, int spent, CancellationToken cancel)
    {
        var (order, kinds) = (launch.Order, Pools.KindsOf(launch.Order));
        // The answer to an earlier try may have been lost: under its token the same is asked again, whatever became of spot since then.
        var isNew = launch.Tries == 1 || spent != launch.Spent;
        while (true)
        {
            var isSpot = Pools.IsSpot(order.Spot, spent);
            if (isSpot && isNew && Pools.FallsBack(order.Spot) && breaker.IsOpen(kinds, order.Region))
            {
                spent = await launches.UndoneAsync(launch.Id); // passed over: the next token asks on demand
                continue;
            }

            var (instances, errors) = await AskAsync(launch, spent, isSpot, cancel);
            if (isSpot)
                Count(errors, kinds, order.Region, instances.Count > 0);
            if (instances is [var instance, ..])
            {
                foreach (var other in instances.Skip(1))
                    await EndAsync(launch, other.InstanceId, cancel);
                if (errors.Count > 0)
                    LogOtherPool(launch.Id, instance.InstanceType, instance.AvailabilityZone, TextOf(errors));
                return instance.InstanceId;
            }

            spent = await launches.UndoneAsync(launch.Id); // the same token would be answered the same
            if (!isSpot || !Pools.FallsBack(order.Spot))
                throw Failure(errors);
            if (errors.All(e => LaunchTroubles.IsLasting(e.Code)) || errors.Any(e => LaunchTroubles.Of(e.Code) == LaunchTrouble.Passing))
            {
                await launches.UndoneAsync(launch.Id); // it says nothing of spot, so the next turn is spot's again
                throw Failure(errors);
            }

            LogFallingBack(launch.Id, TextOf(errors));
        }
    }

    private async Task<FleetResponse> AskAsync(LaunchRecord launch, int spent, bool isSpot, CancellationToken cancel)
    {
        var ec2 = sites.At(launch.Order.Site).Ec2;
        try
        {
            return await ec2.CreateInstantFleetAsync(new FleetRequest(
                launch.Order.LaunchTemplate, string.Create(CultureInfo.InvariantCulture, $"mayfly-{launch.Id.Key}-{spent}"), isSpot, Pools.Of(launch.Order),
                new Dictionary<string, string>(launch.Order.Tags)
                {
                    [Tags.Launch] = TagOf(launch.Id),
                    [Tags.Config] = settings.ConfigInTags ? "tags" : "ssm",
                }), cancel);
        }
        catch (AwsException e) when (e.Code is "IdempotentInstanceTerminated" or "IdempotentParameterMismatch")
        {
            // The token's machine has ended, or was asked for under other settings: the next try is another request.
            foreach (var machine in await ec2.DescribeTaggedAsync(Tags.Launch, cancel))
            {
                if (machine.Tags.GetValueOrDefault(Tags.Launch) == TagOf(launch.Id) && machine.State is "pending" or "running")
                    await ec2.TerminateAsync(machine.InstanceId, cancel);
            }

            await launches.UndoneAsync(launch.Id);
            throw;
        }
        catch (AwsException e) when (LaunchTroubles.Of(e.Code) == LaunchTrouble.NoCapacity)
        {
            return new FleetResponse([], [new FleetError(e.Code, e.Message, null, null)]); // of the request as a whole
        }
    }

    /// <summary>One was asked for, so what more there is has nothing to do.</summary>
    private async Task EndAsync(LaunchRecord launch, string instance, CancellationToken cancel)
    {
        LogTooMany(launch.Id, instance);
        await sites.At(launch.Order.Site).Ec2.TerminateAsync(instance, cancel);
    }

    /// <param name="isServed">Another pool had one, so only what EC2 names has failed.</param>
    private void Count(IReadOnlyList<FleetError> errors, IReadOnlyCollection<string> kinds, string region, bool isServed)
    {
        var lacking = errors.Where(e => LaunchTroubles.Of(e.Code) == LaunchTrouble.NoCapacity).ToList();
        var families = lacking.Select(e => e.InstanceType).OfType<string>().Select(SpotBreaker.FamilyOf).ToHashSet();
        var named = kinds.Where(families.Contains).ToList();
        foreach (var kind in named.Count > 0 || isServed || lacking.Count == 0 ? named : kinds)
        {
            if (breaker.Failed(kind, region))
                LogKeptOff(kind, region, settings.SpotPause);
        }
    }

    private static Exception Failure(IReadOnlyList<FleetError> errors) => errors.Count > 0 && errors.All(e => LaunchTroubles.IsLasting(e.Code))
        ? new LaunchRefusedException($"EC2 launched nothing: {TextOf(errors)}")
        : new AwsException("CreateFleet", errors.FirstOrDefault(e => !LaunchTroubles.IsLasting(e.Code))?.Code ?? "Unknown", $"nothing was launched: {TextOf(errors)}", HttpStatusCode.OK);

    private static string TextOf(IReadOnlyList<FleetError> errors) => string.Join("; ", errors.Select(e => $"{e.InstanceType} {e.AvailabilityZone}: {e.Code}: {e.Message}"));

    /// <summary>A tag's value holds at most 256 characters.</summary>
    private static string TagOf(LaunchId id) => $"{id}" is { Length: > 256 } text ? text[..256] : $"{id}";

    [LoggerMessage(Level = LogLevel.Information, Message = "{Launch}: no spot instance, so one on demand: {Reason}")]
    private partial void LogFallingBack(LaunchId launch, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Launch}: {Type} in {Zone} serves; others refused: {Reason}")]
    private partial void LogOtherPool(LaunchId launch, string type, string zone, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Launch}: EC2 launched more than was asked for; {Instance} is ended")]
    private partial void LogTooMany(LaunchId launch, string instance);

    [LoggerMessage(Level = LogLevel.Warning, Message = "spot instances of {Kind} in {Region} fail: jobs that may run on demand do so for {Pause}")]
    private partial void LogKeptOff(string kind, string region, TimeSpan pause);
}
