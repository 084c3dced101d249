#!/usr/bin/env bash
# Prints the CloudFormation template: stack.yaml with the policies and the launch template put in from their own files, which
# are what `aws iam` and `aws ec2 create-launch-template` take. JSON is YAML, so each member becomes one line.
#   template.sh > mayfly.yaml           all of Mayfly
#   template.sh account > account.yaml  what another account or region needs for a controller to launch there
# Marks in stack.yaml, each a line of its own:
#   #only stack|account ... #end                lines of the one or the other alone
#   #include FILE [MEMBER] [except NAME ...]   the members of the file's object, or of one in it
#   #endpoints SERVICE ...                     an interface endpoint for each
set -euo pipefail
cd "$(dirname "$0")"

part=${1:-stack}
[[ $part == stack || $part == account ]] || { echo "template.sh: '$part' is neither stack nor account" >&2; exit 64; }

only=$part
while IFS= read -r line; do
  if [[ $line =~ ^\ *#only\ (stack|account)$ ]]; then
    only=${BASH_REMATCH[1]}
  elif [[ $line =~ ^\ *#end$ ]]; then
    only=$part
  elif [[ $only != "$part" ]]; then
    continue
  elif [[ $line =~ ^(\ *)#include\ ([a-z-]+\.json)(\ ([A-Z][A-Za-z]+))?(\ except\ (.+))?$ ]]; then
    jq -r --arg indent "${BASH_REMATCH[1]}" --arg member "${BASH_REMATCH[4]}" --arg except "${BASH_REMATCH[6]}" \
      '(if $member == "" then . else .[$member] end) | to_entries[] | select(.key as $k | $except | split(" ") | index($k) | not) | "\($indent)\(.key): \(.value | tojson)"' \
      "${BASH_REMATCH[2]}"
  elif [[ $line =~ ^#endpoints\ (.+)$ ]]; then
    for service in ${BASH_REMATCH[1]}; do
      name=$(sed -E 's/(^|\.)(.)/\u\2/g' <<< "$service")
      cat << END
  ${name}Endpoint:
    Type: AWS::EC2::VPCEndpoint
    Condition: HasEndpoints
    Properties:
      VpcId: !Ref Vpc
      ServiceName: !Sub com.amazonaws.\${AWS::Region}.$service
      VpcEndpointType: Interface
      PrivateDnsEnabled: true
      SubnetIds: [!Ref PrivateSubnetA, !Ref PrivateSubnetB]
      SecurityGroupIds: [!Ref EndpointSecurityGroup]
END
    done
  elif [[ $line =~ ^\ *#(include|endpoints|only|end) ]]; then
    echo "stack.yaml: '$line' is not a mark that template.sh knows" >&2
    exit 1
  else
    printf '%s\n' "$line"
  fi
done < stack.yaml
