namespace Mayfly.Controller.Tests;

/// <summary>The policies of the controller's role, against what the controller calls: the one that a role in each account needs, and its own.</summary>
public sealed class ControllerRoleTests
{
    [Fact]
    public void The_controllers_role_may_do_what_the_controller_does_and_nothing_else() =>
        AwsCalls.AssertAllowedExactly("mayfly-controller.dll", "controller/deploy/launching-policy.json", "controller/deploy/controller-policy.json");
}
