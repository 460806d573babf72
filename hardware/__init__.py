"""The arm: adapters, the safety filter, the control loop, ROS 2, and a virtual arm to test against."""
