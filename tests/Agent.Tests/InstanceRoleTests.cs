using Mayfly.Controller.Tests;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>The policy of the instance's role, against what the agent calls.</summary>
public sealed class InstanceRoleTests
{
    [Fact]
    public void The_instances_role_may_do_what_the_agent_does_and_nothing_else() =>
        AwsCalls.AssertAllowedExactly("mayfly-agent.dll", "controller/deploy/instance-policy.json");
}
